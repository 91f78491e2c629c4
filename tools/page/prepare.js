"use strict";

// A drawing becomes an image as in MNIST: scaled to fit 20x20 pixels with its shape kept, then
// placed so that its centre of mass is in the middle of 28x28. tools/prepare.py does the same to
// any picture; here ground and ink are known, and so is the threshold between them, their middle.

const SIZE = 28;
const BOX = 20;
const THRESHOLD = 126; // of 255, as Otsu's method in tools/prepare.py finds it
const EDGE = [0.75, 1.25]; // of the threshold: up to the first is ground, from the second on is ink

const RAMP = Uint8Array.from({ length: 256 }, (_, amount) => {
  const share = (amount / THRESHOLD - EDGE[0]) / (EDGE[1] - EDGE[0]);
  return Math.round(255 * Math.min(1, Math.max(0, share)));
});

/** 784 numbers from 0 (ground) to 1 (ink), or null where nothing is drawn. `amounts` are how much
 *  the pen has covered each pixel, 0 to 255. */
function prepare(amounts, width, height) {
  const ink = new Uint8Array(amounts.length);
  for (let i = 0; i < ink.length; i++) ink[i] = RAMP[amounts[i]];
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
    const row = Math.ceil(((y + 0.5) * height) / box.height) - 1;
    for (let x = 0; x < box.width; x++) {
      const column = Math.ceil(((x + 0.5) * width) / box.width) - 1;
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
