"use strict";

// The trained network, forward only. As in PyTorch, a stack of maps is one flat array of numbers:
// map after map, row after row.

/** The tensors by name, of what tools/page/content.py embedded. */
function readWeights({ shapes, numbers }) {
  const bytes = Uint8Array.from(atob(numbers), (character) => character.charCodeAt(0));
  const floats = new Float32Array(bytes.buffer);
  const tensors = {};
  let start = 0;
  for (const [name, shape] of shapes) {
    const size = shape.reduce((product, n) => product * n, 1);
    tensors[name] = { shape, values: floats.subarray(start, start + size) };
    start += size;
  }
  return tensors;
}

/** Slide each filter over the maps (side x side each), only where it fits whole. */
function convolve(maps, side, weight, bias) {
  const [filters, channels, size] = weight.shape;
  const places = side - size + 1;
  const result = new Float32Array(filters * places * places);
  for (let filter = 0, to = 0; filter < filters; filter++) {
    for (let y = 0; y < places; y++) {
      for (let x = 0; x < places; x++, to++) {
        let sum = bias.values[filter];
        let w = filter * channels * size * size;
        for (let channel = 0; channel < channels; channel++) {
          for (let dy = 0; dy < size; dy++) {
            const from = (channel * side + y + dy) * side + x;
            for (let dx = 0; dx < size; dx++) sum += weight.values[w++] * maps[from + dx];
          }
        }
        result[to] = sum;
      }
    }
  }
  return result;
}

/** The greatest of each 2x2 pixels, or 0 if all are negative. An odd last row is left out. */
function poolAndRelu(maps, side) {
  const half = Math.floor(side / 2);
  const count = maps.length / (side * side);
  const result = new Float32Array(count * half * half);
  for (let map = 0, to = 0; map < count; map++) {
    for (let y = 0; y < half; y++) {
      for (let x = 0; x < half; x++, to++) {
        const at = (map * side + 2 * y) * side + 2 * x;
        result[to] = Math.max(0, maps[at], maps[at + 1], maps[at + side], maps[at + side + 1]);
      }
    }
  }
  return result;
}

/** Each output is a weighted sum of all inputs. */
function connect(inputs, weight, bias) {
  return bias.values.map((start, output) => {
    let sum = start;
    const w = output * inputs.length;
    for (let i = 0; i < inputs.length; i++) sum += weight.values[w + i] * inputs[i];
    return sum;
  });
}

/** Numbers to probabilities. */
function softmax(numbers) {
  const greatest = Math.max(...numbers);
  const powers = Array.from(numbers, (number) => Math.exp(number - greatest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

/** The ten probabilities of an image: 784 numbers from 0 (ground) to 1 (ink). */
function classify(tensors, { mean, std }, image) {
  const layer = (name) => [tensors[`${name}.weight`], tensors[`${name}.bias`]];
  let side = 28;
  let x = Float32Array.from(image, (pixel) => (pixel - mean) / std);
  for (const name of ["conv1", "conv2"]) {
    const [weight, bias] = layer(name);
    const places = side - weight.shape[2] + 1;
    x = poolAndRelu(convolve(x, side, weight, bias), places);
    side = Math.floor(places / 2);
  }
  x = connect(x, ...layer("fc1")).map((number) => Math.max(0, number));
  return softmax(connect(x, ...layer("fc2")));
}
