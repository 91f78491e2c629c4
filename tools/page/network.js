"use strict";

// The trained network, forward only: an interpreter of the ONNX operators that
// tools/operators.py lists. A value is { shape, values }: maps [channels, height, width] or a row
// [n], and all its numbers in one flat array, in PyTorch's order.

/** The tensors by name, of what tools/page/results.py embedded. */
function readTensors({ shapes, numbers }) {
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

const OPERATORS = {
  Sub: (x, [constant]) => eachMap(x, (v, map) => v - constant.values[map]),
  Div: (x, [constant]) => eachMap(x, (v, map) => v / constant.values[map]),
  BatchNormalization: normaliseBatch,
  Relu: ({ shape, values }) => ({ shape, values: values.map((v) => Math.max(0, v)) }),
  Flatten: ({ values }) => ({ shape: [values.length], values }),
  Conv: convolve,
  MaxPool: pool,
  Gemm: connect,
  LogSoftmax: logSoftmax,
};

/** Slide each filter over the maps, `pads` pixels of zeros around them. */
function convolve(x, [weight, bias], { strides, pads }) {
  const [channels, height, width] = x.shape;
  const [filters, , rows, columns] = weight.shape;
  const down = Math.floor((height + 2 * pads[0] - rows) / strides[0]) + 1;
  const across = Math.floor((width + 2 * pads[1] - columns) / strides[1]) + 1;
  const values = new Float32Array(filters * down * across);
  for (let filter = 0, to = 0; filter < filters; filter++) {
    for (let y = -pads[0], i = 0; i < down; i++, y += strides[0]) {
      for (let x0 = -pads[1], j = 0; j < across; j++, to++, x0 += strides[1]) {
        let sum = bias?.values[filter] ?? 0;
        const [left, right] = [Math.max(0, -x0), Math.min(columns, width - x0)];
        for (let channel = 0; channel < channels; channel++) {
          for (let dy = Math.max(0, -y); dy < Math.min(rows, height - y); dy++) {
            const from = (channel * height + y + dy) * width + x0;
            const w = ((filter * channels + channel) * rows + dy) * columns;
            for (let dx = left; dx < right; dx++) sum += weight.values[w + dx] * x.values[from + dx];
          }
        }
        values[to] = sum;
      }
    }
  }
  return { shape: [filters, down, across], values };
}

/** The greatest number in each window. What does not fill a window at the edge is left out. */
function pool(x, _, { kernel_shape: [rows, columns], strides }) {
  const [channels, height, width] = x.shape;
  const down = Math.floor((height - rows) / strides[0]) + 1;
  const across = Math.floor((width - columns) / strides[1]) + 1;
  const values = new Float32Array(channels * down * across);
  for (let channel = 0, to = 0; channel < channels; channel++) {
    for (let i = 0; i < down; i++) {
      for (let j = 0; j < across; j++, to++) {
        const from = (channel * height + i * strides[0]) * width + j * strides[1];
        let greatest = -Infinity;
        for (let dy = 0; dy < rows; dy++) {
          for (let dx = 0; dx < columns; dx++) {
            greatest = Math.max(greatest, x.values[from + dy * width + dx]);
          }
        }
        values[to] = greatest;
      }
    }
  }
  return { shape: [channels, down, across], values };
}

/** Scale and shift each map by what training has seen: its mean, its variance, and two weights. */
function normaliseBatch(x, [scale, shift, mean, variance], { epsilon }) {
  const slopes = scale.values.map((v, map) => v / Math.sqrt(variance.values[map] + epsilon));
  return eachMap(x, (v, map) => (v - mean.values[map]) * slopes[map] + shift.values[map]);
}

/** A function of each number and the number of its map. */
function eachMap({ shape, values }, change) {
  const size = shape[1] * shape[2];
  return { shape, values: values.map((v, i) => change(v, Math.floor(i / size))) };
}

/** Each output is a bias, if there is one, and a weighted sum of all inputs. */
function connect(x, [weight, bias]) {
  const values = new Float32Array(weight.shape[0]).map((_, output) => {
    let sum = bias?.values[output] ?? 0;
    const w = output * x.values.length;
    for (let i = 0; i < x.values.length; i++) sum += weight.values[w + i] * x.values[i];
    return sum;
  });
  return { shape: [values.length], values };
}

/** The logarithms of probabilities that are proportional to the powers of e. */
function logSoftmax({ shape, values }) {
  const greatest = Math.max(...values);
  const sum = values.reduce((total, v) => total + Math.exp(v - greatest), 0);
  return { shape, values: values.map((v) => v - greatest - Math.log(sum)) };
}

/** The image, of numbers from 0 (ground) to 1 (ink), and what each operator makes of it in turn. */
function trace(tensors, { operators, input }, image) {
  const values = [{ shape: input, values: Float32Array.from(image) }];
  for (const [, kind, constants, attributes] of operators) {
    values.push(OPERATORS[kind](values.at(-1), constants.map((name) => tensors[name]), attributes));
  }
  return values;
}

/** The probability of each class. */
function classify(tensors, network, image) {
  return Array.from(trace(tensors, network, image).at(-1).values, Math.exp);
}
