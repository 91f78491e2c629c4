"use strict";

// A drawing becomes an image as in MNIST: scaled to fit 20x20 pixels with its shape kept, then
// placed so that its centre of mass is in the middle of 28x28; in the same share of another size. tools/prepare.py does the same to
// any picture. Here the colours of ground and ink are known, and the threshold between them is
// their middle.

const BOX = 20; // pixels of 28
const THRESHOLD = 126; // of 255, as Otsu's method in tools/prepare.py finds it
const EDGE = [0.75, 1.25]; // of the threshold: up to the first is ground, from the second on is ink
const MIN_AREA = 0.05; // of the largest part's area: smaller parts are dust
const MIN_HEIGHT = 0.5; // of the highest part's: lower parts are pieces of a digit
const MIDDLE = [0.25, 0.75]; // of a part's width: where two digits side by side do not overlap

const RAMP = Uint8Array.from({ length: 256 }, (_, amount) => {
  const share = (amount / THRESHOLD - EDGE[0]) / (EDGE[1] - EDGE[0]);
  return Math.round(255 * Math.min(1, Math.max(0, share)));
});

/** The image, `size` rows and columns of numbers from 0 (ground) to 1 (ink), and whether the drawing
 *  looks like more than one digit; or null where nothing is drawn. `amounts` are how much the pen
 *  has covered each pixel, 0 to 255. */
function prepare(amounts, width, height, size) {
  const ink = new Uint8Array(amounts.length);
  for (let i = 0; i < ink.length; i++) ink[i] = RAMP[amounts[i]];
  const parts = clean(ink, findParts(ink, width, height));
  if (parts.length === 0) return null;
  const digit = fit(ink, width, boxAround(parts), (BOX * Math.min(...size)) / 28);
  return { image: centre(digit, size), several: areSeveral(parts) };
}

/** The parts of the ink: for each the indices of its pixels, and the box around them. Pixels that
 *  touch at a side or a corner are of one part. */
function findParts(ink, width, height) {
  const found = new Uint8Array(ink.length);
  const parts = [];
  for (let start = 0; start < ink.length; start++) {
    if (ink[start] === 0 || found[start]) continue;
    found[start] = 1;
    const pixels = [start];
    let [left, top, right, bottom] = [width, height, 0, 0]; // right and bottom are one further
    for (let next = 0; next < pixels.length; next++) { // pixels grows meanwhile
      const x = pixels[next] % width;
      const y = (pixels[next] - x) / width;
      left = Math.min(left, x);
      top = Math.min(top, y);
      right = Math.max(right, x + 1);
      bottom = Math.max(bottom, y + 1);
      for (let row = Math.max(0, y - 1); row <= Math.min(height - 1, y + 1); row++) {
        for (let column = Math.max(0, x - 1); column <= Math.min(width - 1, x + 1); column++) {
          const i = row * width + column;
          if (ink[i] === 0 || found[i]) continue;
          found[i] = 1;
          pixels.push(i);
        }
      }
    }
    parts.push({ pixels, left, top, right, bottom });
  }
  return parts;
}

/** The parts that are not dust. The ink of the dust is taken away. */
function clean(ink, parts) {
  const largest = Math.max(...parts.map(({ pixels }) => pixels.length));
  const isDust = ({ pixels }) => pixels.length < MIN_AREA * largest;
  for (const { pixels } of parts.filter(isDust)) for (const i of pixels) ink[i] = 0;
  return parts.filter((part) => !isDust(part));
}

/** Whether parts stand side by side as digits do: both are high, and the middle halves of their
 *  widths do not overlap. Digits that touch are one part, and are not told apart. */
function areSeveral(parts) {
  const height = ({ top, bottom }) => bottom - top;
  const highest = Math.max(...parts.map(height));
  const high = parts.filter((part) => height(part) >= MIN_HEIGHT * highest);
  const [starts, ends] = MIDDLE.map((share) =>
    high.map(({ left, right }) => left + share * (right - left)),
  );
  return Math.max(...starts) >= Math.min(...ends);
}

/** The smallest rectangle that holds all parts. */
function boxAround(parts) {
  const left = Math.min(...parts.map((part) => part.left));
  const top = Math.min(...parts.map((part) => part.top));
  const width = Math.max(...parts.map((part) => part.right)) - left;
  const height = Math.max(...parts.map((part) => part.bottom)) - top;
  return { left, top, width, height };
}

/** What is in the box, scaled so that its longer side has `longer` pixels: each new pixel is the mean of
 *  those whose centres lie in it. The darkest becomes 255. The box is never smaller than 20 pixels
 *  both ways, since the pen is wider. */
function fit(ink, stride, box, longer) {
  const scale = longer / Math.max(box.width, box.height);
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

/** The digit on so many rows and columns, its centre of mass in their middle, or as near as it fits. */
function centre({ width, height, pixels }, [rows, columns]) {
  let [mass, massX, massY] = [0, 0, 0];
  pixels.forEach((pixel, i) => {
    mass += pixel;
    massX += pixel * (i % width);
    massY += pixel * Math.floor(i / width);
  });
  const place = (centreOfMass, length, room) =>
    Math.min(room - length, Math.max(0, Math.round(room / 2 - centreOfMass)));
  const [left, top] = [place(massX / mass, width, columns), place(massY / mass, height, rows)];
  const image = new Float32Array(rows * columns);
  pixels.forEach((pixel, i) => {
    image[(top + Math.floor(i / width)) * columns + left + (i % width)] = pixel / 255;
  });
  return image;
}
