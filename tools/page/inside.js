"use strict";

// The network at work on the image in the answer: what each layer makes of it; one map large, with
// the filter that made it and the place that one of its pixels saw; and the patches that decide.
// Indices count from 0, as in PyTorch: conv1[3, 5, 7] is row 5, column 7 of map 3.

const WORDS = {
  Div: "pixels less their mean in training, divided by their standard deviation",
  Conv: "a bias, plus the products of a filter and the place that it lies on",
  MaxPool: "the greatest number of each window",
  BatchNormalization: "each map scaled and shifted by what training has seen",
  Relu: "what is negative becomes zero",
  Flatten: "the same numbers in one row",
  Gemm: "a bias, plus the products of weights and all numbers before",
  LogSoftmax: "the logarithms of probabilities that sum to one",
  Exp: "e to the power of these",
};
const COLOURS = { negative: [0, 114, 178], positive: [213, 94, 0] }; // and white for zero
const PATCH = 4; // pixels both ways

const LAYERS = [...NETWORK.operators, ["probabilities", "Exp", [], {}]].map(
  ([name, kind, constants, attributes]) => ({ name, kind, attributes, tensors: constants.map((key) => TENSORS[key]) }),
);
let traced = []; // the image, then what each layer made of it
let chosen = { layer: LAYERS.findIndex(({ kind }) => kind === "Conv"), map: 0 }; // and a pixel, else the strongest
let kept = chosen; // by click or keyboard, for when the pointer has passed over others

// --- Numbers ---

/** Maps, rows and columns of a value; a row of numbers is one map. */
const dimensions = ({ shape }) => (shape.length === 3 ? shape : [1, 1, shape[0]]);
const most = (values) => values.reduce((greatest, v) => Math.max(greatest, Math.abs(v)), 1e-9);
const strongest = (values) => Math.max(0, values.map(Math.abs).indexOf(most(values)));
const within = (n, length) => Math.min(length - 1, Math.max(0, n));
const text = (value, digits = 3) => value.toFixed(digits).replace("-", "\u2212");
const planeOf = ({ layer, map }) => planes(traced[layer + 1])[map];
const pixelOf = (place) => place.pixel ?? strongest(planeOf(place));

/** The maps of a value, each a flat array. */
function planes(value) {
  const [maps, height, width] = dimensions(value);
  return Array.from({ length: maps }, (_, n) => value.values.subarray(n * height * width, (n + 1) * height * width));
}

/** The weights of a filter, a map for each map of its input, or of a unit, in one row. */
function filter({ tensors: [{ shape, values }] }, n) {
  const size = values.length / shape[0];
  return { shape: shape.slice(1), values: values.subarray(n * size, (n + 1) * size), limit: most(values) };
}

/** Where the window of a layer starts in its input, [row, column], and its size. */
function windowAt({ kind, tensors, attributes: { strides = [1, 1], pads = [0, 0], kernel_shape: size = [1, 1] } }, at) {
  const start = at.map((n, side) => n * strides[side] - pads[side]);
  return { start, size: kind === "Conv" ? tensors[0].shape.slice(2) : size };
}

/** What a pixel comes from: the layer with the weights and the number of its filter or unit, and a
 *  box in the image: its first row and column, and its last. */
function sourceOf({ layer, map }, pixel) {
  const index = LAYERS.findLastIndex(({ kind }, i) => i <= layer && (kind === "Conv" || kind === "Gemm"));
  if (LAYERS[index]?.kind === "Gemm") return { index, n: pixel, first: [0, 0], last: [HEIGHT - 1, WIDTH - 1] };
  const width = dimensions(traced[layer + 1])[2];
  let first = [Math.floor(pixel / width), pixel % width];
  let last = first;
  for (let i = layer; i >= 0; i--) {
    const [, ...sides] = dimensions(traced[i]);
    if (LAYERS[i].kind === "Flatten") {
      map = Math.floor(pixel / sides[0] / sides[1]);
      first = last = [Math.floor(pixel / sides[1]) % sides[0], pixel % sides[1]];
    } else {
      const end = windowAt(LAYERS[i], last);
      first = windowAt(LAYERS[i], first).start.map((n, side) => within(n, sides[side]));
      last = end.start.map((n, side) => within(n + end.size[side] - 1, sides[side]));
    }
  }
  return { index, n: map, first, last };
}

// --- Pictures ---

function colour(share) {
  const end = share < 0 ? COLOURS.negative : COLOURS.positive;
  return end.map((full) => 255 + (full - 255) * Math.min(1, Math.abs(share)));
}

/** Maps side by side, as square as can be. A number as large as `limit` has the full colour. */
function paint(canvas, value, limit, maps = planes(value)) {
  const [, height, width] = dimensions(value);
  const columns = Math.ceil(Math.sqrt(maps.length));
  canvas.width = columns * (width + 1) - 1;
  canvas.height = Math.ceil(maps.length / columns) * (height + 1) - 1;
  canvas.classList.toggle("strip", height === 1 && width > 1);
  maps.forEach((values, n) => {
    const image = new ImageData(width, height);
    values.forEach((v, i) => image.data.set([...colour(v / limit), 255], 4 * i));
    canvas.getContext("2d").putImageData(image, (n % columns) * (width + 1), Math.floor(n / columns) * (height + 1));
  });
}

/** Put a frame around the pixels from `first` to `last` of a picture with so many rows and columns. */
function frame(element, first, last, sides) {
  const share = (n, i) => `${(100 * n) / sides[i]}%`;
  [element.style.top, element.style.left] = first.map(share);
  [element.style.height, element.style.width] = last.map((n, i) => share(n + 1 - first[i], i));
}

function make(name, properties, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

// --- The layers ---

const buttons = () => [...find("layers").querySelectorAll("button")];
const placeOf = ({ dataset }) => ({ layer: Number(dataset.layer), map: Number(dataset.map) });
const buttonOf = ({ layer, map }) => find("layers").querySelector(`[data-layer="${layer}"][data-map="${map}"]`);

function buildLayers() {
  LAYERS.forEach((layer, index) => {
    if (layer.kind === "Sub") return; // half of the normalisation
    const [before, value] = [traced[index], traced[index + 1]];
    const [maps, height] = dimensions(value);
    const heading = make("h3", {}, make("code", { textContent: layer.name }), ` ${value.shape.join(" × ")}`);
    if (layer.kind === "Flatten") heading.append(` = ${before.shape.join(" × ")}`);
    const row = make("div", { className: height > 1 ? "maps" : "row" });
    for (let map = 0; map < maps; map++) {
      const ariaLabel = `${layer.name}, ${height > 1 ? `map ${map} of ${maps}` : `${value.shape[0]} numbers`}`;
      const button = make("button", { type: "button", tabIndex: -1, ariaLabel }, make("canvas", { className: "map" }));
      Object.assign(button.dataset, { layer: index, map });
      if (layer.kind === "Conv" && before.shape[0] <= 3) {
        const weights = filter(layer, map);
        button.prepend(make("canvas", { className: "filter" }));
        paint(button.firstChild, weights, weights.limit);
      }
      row.append(button);
    }
    if (value.values.length === traced.at(-1).values.length) row.append(make("ol", { className: "outputs" }));
    find("layers").append(make("div", {}, heading, make("p", { className: "note", textContent: WORDS[layer.kind] }), row));
  });
  buttonOf(chosen).tabIndex = 0;
}

/** Show what the layers make of an image. */
function showInside(image) {
  const values = trace(TENSORS, NETWORK, image);
  traced = [...values, { ...values.at(-1), values: values.at(-1).values.map(Math.exp) }];
  if (!find("layers").hasChildNodes()) buildLayers();
  const limits = traced.map((value) => most(value.values));
  for (const button of buttons()) {
    const place = placeOf(button);
    const value = traced[place.layer + 1];
    paint(button.lastChild, value, limits[place.layer + 1], [planeOf(place)]);
    const outputs = button.parentElement.querySelector(".outputs");
    if (!outputs) continue;
    const shown = Array.from(value.values, (v) => text(v, Math.abs(v) < 10 ? 2 : 1));
    outputs.replaceChildren(...shown.map((number, n) => make("li", {}, make("span", { textContent: n }), number)));
  }
  showCloseUp();
}

// --- The close-up ---

function showCloseUp() {
  const { layer, map } = chosen;
  const { name } = LAYERS[layer];
  const value = traced[layer + 1];
  const [maps, height, width] = dimensions(value);
  const [plane, pixel] = [planeOf(chosen), pixelOf(chosen)];
  const at = [Math.floor(pixel / width), pixel % width];
  for (const button of buttons()) button.classList.toggle("chosen", button === buttonOf(chosen));
  paint(find("large"), value, most(value.values), [plane]);
  frame(find("pixel"), at, at, [height, width]);
  const { index, n, first, last } = sourceOf(chosen, pixel);
  frame(find("field"), first, last, [HEIGHT, WIDTH]);
  find("made").hidden = index < 0;
  if (index >= 0) {
    const weights = filter(LAYERS[index], n);
    paint(find("weights"), weights, weights.limit);
    find("maker").textContent = `${LAYERS[index].kind === "Conv" ? "filter" : "weights"} ${n} of ${LAYERS[index].name}`;
  }
  const isMap = value.shape.length === 3;
  find("chosen-map").textContent = `${name}, ${isMap ? `map ${map} of ${maps}` : `number ${pixel} of ${width}`}`;
  find("numbers").textContent =
    `${name}[${isMap ? [map, ...at].join(", ") : pixel}] = ${text(plane[pixel])}. It saw rows ${first[0]} to ${last[0]} ` +
    `and columns ${first[1]} to ${last[1]} of the image. The ${isMap ? "map" : "row"} goes from ` +
    `${text(Math.min(...plane))} to ${text(Math.max(...plane))}.`;
  const hasWindow = isMap && traced[layer].shape.length === 3;
  find("tables").replaceChildren(...(hasWindow ? tables(LAYERS[layer], traced[layer], map, at) : []));
}

/** The numbers behind a pixel: what it saw and, if there is a filter, the weights. Of many maps,
 *  those of the one whose products count most. */
function tables(layer, before, map, at) {
  const { start, size: [rows, columns] } = windowAt(layer, at);
  const [, height, width] = before.shape;
  const seen = planes(before).map((plane) =>
    Float32Array.from({ length: rows * columns }, (_, i) => {
      const [row, column] = [start[0] + Math.floor(i / columns), start[1] + (i % columns)];
      const isPadding = row < 0 || column < 0 || row >= height || column >= width;
      return isPadding ? 0 : plane[row * width + column];
    }),
  );
  const limit = most(before.values);
  if (layer.kind !== "Conv") return [table("what it saw", seen[map], columns, limit)];
  const weights = filter(layer, map);
  const sums = planes(weights).map((kernel, n) => kernel.reduce((sum, w, i) => sum + w * seen[n][i], 0));
  const n = strongest(sums);
  return [
    table(sums.length > 1 ? `what it saw of map ${n}, which counts most` : "what it saw", seen[n], columns, limit),
    table(`times its weights, sum ${text(sums[n])}`, planes(weights)[n], columns, weights.limit),
  ];
}

function table(caption, values, columns, limit) {
  const rows = Array.from({ length: values.length / columns }, () => make("tr", {}));
  values.forEach((value, i) => {
    const cell = make("td", { textContent: text(value, 2) });
    cell.style.background = `rgb(${colour((0.7 * value) / limit).join(" ")})`; // so that black can be read on it
    rows[Math.floor(i / columns)].append(cell);
  });
  return make("table", {}, make("caption", { textContent: caption }), ...rows);
}

// --- What a pointer or a key chooses ---

function choose(place, keep = true) {
  chosen = place;
  if (keep) kept = place;
  showCloseUp();
}

/** A place, at the pixel of its canvas that is under the pointer. */
function underPointer(place, { clientX, clientY }, canvas) {
  const { left, top, width, height } = canvas.getBoundingClientRect();
  const row = within(Math.floor(((clientY - top) / height) * canvas.height), canvas.height);
  const column = within(Math.floor(((clientX - left) / width) * canvas.width), canvas.width);
  return { ...place, pixel: row * canvas.width + column };
}

for (const type of ["pointermove", "pointerdown"]) {
  find("layers").addEventListener(type, (event) => {
    const button = event.target.closest("button");
    if (button) choose(underPointer(placeOf(button), event, button.lastChild), type === "pointerdown");
  });
  find("large").addEventListener(type, (event) => choose(underPointer(chosen, event, find("large"))));
}
find("layers").addEventListener("pointerleave", () => choose(kept));

find("layers").addEventListener("focusin", ({ target }) => {
  for (const button of buttons()) button.tabIndex = button === target ? 0 : -1;
  if (target.matches(":focus-visible")) choose(placeOf(target)); // else a pointer has chosen the pixel
});

/** Arrow keys go to the next map or layer; in the close-up, to the next pixel. */
find("look").addEventListener("keydown", (event) => {
  if (!ARROWS[event.key]) return;
  event.preventDefault(); // no scrolling
  const [right, down] = ARROWS[event.key];
  if (event.target === find("large")) {
    const [{ width, height }, pixel] = [event.target, pixelOf(chosen)];
    const row = within(Math.floor(pixel / width) + down, height);
    choose({ ...chosen, pixel: row * width + within((pixel % width) + right, width) });
  } else {
    const rows = [...find("layers").children].map((layer) => [...layer.querySelectorAll("button")]);
    const from = rows.findIndex((row) => row.includes(event.target));
    const to = rows[within(from + down, rows.length)];
    to[within(rows[from].indexOf(event.target) + right, to.length)].focus();
  }
});

// --- Which strokes decide ---

/** Blank each patch of the image in turn, and colour it by how much the logarithm of the answer's
 *  probability changes: orange where it falls, blue where it grows. */
function showDeciding(image, probabilities) {
  find("deciding").hidden = find("decides").hidden = !probabilities;
  if (!probabilities) return;
  const [best, columns] = [mostProbable(probabilities), Math.ceil(WIDTH / PATCH)];
  const patchOf = (i) => columns * Math.floor((Math.floor(i / WIDTH) % HEIGHT) / PATCH) + Math.floor((i % WIDTH) / PATCH);
  const without = Array.from({ length: patchOf(image.length - 1) + 1 }, (_, patch) => {
    const blanked = image.map((v, i) => (patchOf(i) === patch ? 0 : v));
    return blanked.some((v, i) => v !== image[i]) ? classify(TENSORS, NETWORK, blanked) : probabilities;
  });
  const falls = Float32Array.from(without, (then) => Math.log(probabilities[best] / Math.max(1e-30, then[best])));
  paint(find("deciding"), { shape: [1, falls.length / columns, columns], values: falls }, most(falls));
  const patch = falls.indexOf(Math.max(...falls));
  const [row, column] = [PATCH * Math.floor(patch / columns), PATCH * (patch % columns)];
  const instead = mostProbable(without[patch]);
  find("decides").textContent =
    `Without the strongest orange (rows ${row} to ${row + PATCH - 1}, columns ${column} to ${column + PATCH - 1}) ` +
    `the answer is ${instead === best ? "still " : ""}${instead}, ${percent(without[patch][instead])} sure.`;
}
