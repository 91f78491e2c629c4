"use strict";

// A drawing becomes an image as in MNIST: scaled to fit 20x20 pixels with its shape kept, then
// placed so that its centre of mass is in the middle of 28x28. tools/prepare.py does the same to
// pictures, after it has found out what is ink on them; here that is known.

const SIZE = 28;
const BOX = 20;

/** 784 numbers from 0 (ground) to 1 (ink), or null where nothing is drawn. `ink` is 0 to 255. */
function prepare(ink, width, height) {
  const box = bounds(ink, width, height);
  return box && centre(fit(ink, width, box));
}

/** The smallest rectangle that holds all ink. */
function bounds(ink, width, height) {
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (ink[i] === 0) continue;
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < top) top = y;
      bottom = y;
    }
  }
  return bottom < 0 ? null : { left, top, width: right - left + 1, height: bottom - top + 1 };
}

/** What is in the box, scaled so that its longer side is 20 pixels: each new pixel is the mean of
 *  those whose centres lie in it. The darkest becomes 255. The box is never smaller than 20 pixels
 *  both ways, since the pen is wider. */
function fit(ink, stride, box) {
  const scale = BOX / Math.max(box.width, box.height);
  const width = Math.max(1, Math.round(box.width * scale));
  const height = Math.max(1, Math.round(box.height * scale));
  const sums = new Float64Array(width * height);
  const counts = new Float64Array(width * height);
  for (let y = 0; y < box.height; y++) {
    const row = Math.floor(((y + 0.5) * height) / box.height);
    for (let x = 0; x < box.width; x++) {
      const column = Math.floor(((x + 0.5) * width) / box.width);
      sums[row * width + column] += ink[(box.top + y) * stride + box.left + x];
      counts[row * width + column] += 1;
    }
  }
  const means = sums.map((sum, i) => sum / counts[i]);
  const darkest = Math.max(...means);
  return { width, height, pixels: means.map((mean) => Math.round((255 * mean) / darkest)) };
}

/** The digit on 28x28 pixels, its centre of mass at pixel (14, 14), or as near as it fits. */
function centre({ width, height, pixels }) {
  let [mass, massX, massY] = [0, 0, 0];
  pixels.forEach((pixel, i) => {
    mass += pixel;
    massX += pixel * (i % width);
    massY += pixel * Math.floor(i / width);
  });
  const place = (centreOfMass, size) =>
    Math.min(SIZE - size, Math.max(0, Math.round(SIZE / 2 - centreOfMass)));
  const [left, top] = [place(massX / mass, width), place(massY / mass, height)];
  const image = new Float32Array(SIZE * SIZE);
  pixels.forEach((pixel, i) => {
    image[(top + Math.floor(i / width)) * SIZE + left + (i % width)] = pixel / 255;
  });
  return image;
}
