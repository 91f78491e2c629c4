"use strict";

// The pad to draw on, and the answer beside it. A stroke is a list of points in the pad's own
// pixels; the pad is drawn from the strokes, so that one can be undone.

const find = (id) => document.getElementById(id);
const mostProbable = (probabilities) => probabilities.indexOf(Math.max(...probabilities));
const percent = (value) => `${(100 * value).toFixed(1)}\u00a0%`;

const NETWORK = JSON.parse(find("network").textContent);
const TENSORS = readTensors(NETWORK);
const [CHANNELS, HEIGHT, WIDTH] = NETWORK.input;
const EMPTY = new Float32Array(CHANNELS * HEIGHT * WIDTH);
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const pad = find("pad");
const ink = pad.getContext("2d", { willReadFrequently: true });
const strokes = [];
let writing = null; // the pointer that draws the last stroke: its id, or "keyboard"
let opened = null; // the answer to a test image, in place of a drawing

// --- From strokes to an answer ---

function drawStrokes() {
  ink.clearRect(0, 0, pad.width, pad.height);
  ink.lineWidth = pad.width / 12;
  ink.lineCap = ink.lineJoin = "round";
  for (const stroke of strokes) {
    ink.beginPath();
    ink.moveTo(stroke[0].x - 0.01, stroke[0].y); // so that a single point is a line too
    stroke.forEach(({ x, y }, i) => {
      const next = stroke[i + 1] ?? { x, y };
      ink.quadraticCurveTo(x, y, (x + next.x) / 2, (y + next.y) / 2); // no corners
    });
    ink.stroke();
  }
}

/** How much ink each pixel of the pad has, 0 to 255. */
function readInk() {
  const { data } = ink.getImageData(0, 0, pad.width, pad.height);
  const amounts = new Uint8Array(pad.width * pad.height);
  for (let i = 0; i < amounts.length; i++) amounts[i] = data[4 * i + 3]; // the alpha channel
  return amounts;
}

/** The image that the network sees, whether it looks like more than one digit, and the ten
 *  probabilities; or null with nothing drawn. */
function readDigit() {
  const prepared = prepare(readInk(), pad.width, pad.height, [HEIGHT, WIDTH]);
  return prepared && { ...prepared, probabilities: classify(TENSORS, NETWORK, prepared.image) };
}

function show(answer) {
  const image = answer?.image ?? EMPTY;
  const probabilities = answer?.probabilities ?? Array(find("bars").children.length).fill(0);
  const best = answer ? mostProbable(probabilities) : null;
  document.body.classList.toggle("drawn", Boolean(answer));
  find("invitation").hidden = strokes.length > 0;
  find("undo").disabled = find("clear").disabled = !answer;
  find("digit").textContent = best ?? "?";
  [...find("bars").children].forEach((row, digit) => {
    row.classList.toggle("best", digit === best);
    row.querySelector(".bar").style.transform = `scaleX(${probabilities[digit]})`;
    row.querySelector(".value").textContent = answer ? percent(probabilities[digit]) : "";
  });
  for (const id of ["seen", "subject-image", "whole"]) showImage(find(id), image);
  if (writing !== null) return; // words wait for the end of the stroke
  const subject = answer?.subject ?? (answer ? "Your drawing" : "The empty pad");
  find("subject").textContent = `${subject}, from its pixels to the probabilities.`;
  find("said").textContent = answer ? say(probabilities) : "Nothing drawn";
  find("several").textContent = answer?.several ? "This looks like more than one digit. Draw one." : "";
}

/** The answer in words; a screen reader reads it out. */
function say(probabilities) {
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
  const [first, second] = order.map((digit) => `${digit}, ${percent(probabilities[digit])}`);
  return `${first} sure\nthen ${second}`;
}

/** Numbers from 0 to 1 as black ink on nothing, or as red, green and blue. */
function showImage(canvas, image) {
  [canvas.height, canvas.width] = [HEIGHT, WIDTH];
  const pixels = new ImageData(WIDTH, HEIGHT);
  for (let i = 0, size = WIDTH * HEIGHT; i < size; i++) {
    const rgb = CHANNELS === 3 ? [image[i], image[size + i], image[2 * size + i], 1] : [0, 0, 0, image[i]];
    pixels.data.set(rgb.map((v) => 255 * v), 4 * i);
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

let scheduled = false;
let looking = null;

/** Draw and classify, once a frame however many points the pointer reports. The layers come after
 *  the frame with the answer. */
function update() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    drawStrokes();
    const answer = readDigit() ?? opened;
    show(answer);
    showPen();
    clearTimeout(looking);
    looking = setTimeout(() => look(answer));
  });
}

function look(answer) {
  const image = answer?.image ?? EMPTY;
  showInside(image);
  if (writing === null) showDeciding(image, answer?.probabilities);
}

// --- What a pointer or a key does to the strokes ---

function begin(writer, point) {
  writing = writer;
  opened = null;
  strokes.push([point]);
  update();
}

function extend(points) {
  strokes.at(-1).push(...points);
  update();
}

function end() {
  writing = null;
  update();
}

function undo() {
  strokes.pop();
  opened = null;
  end();
}

function clear() {
  strokes.length = 0;
  opened = null;
  end();
}

// --- Mouse, touch and pen ---

function pointOf({ clientX, clientY }) {
  const { left, top, width } = pad.getBoundingClientRect();
  const scale = pad.width / width;
  return { x: (clientX - left) * scale, y: (clientY - top) * scale };
}

pad.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || Number.isInteger(writing)) return; // one finger draws at a time
  pad.setPointerCapture(event.pointerId);
  begin(event.pointerId, pointOf(event));
});

pad.addEventListener("pointermove", (event) => {
  if (event.pointerId !== writing) return;
  const all = event.getCoalescedEvents?.() ?? []; // since the last frame; not in every browser
  extend((all.length ? all : [event]).map(pointOf));
});

pad.addEventListener("lostpointercapture", (event) => {
  if (event.pointerId === writing) end();
});

find("undo").addEventListener("click", undo);
find("clear").addEventListener("click", clear);

// --- Keyboard: a pen that is moved, lowered and lifted ---

const pen = { x: pad.width / 2, y: pad.height / 4 };
const step = pad.width / WIDTH;

function move(right, down) {
  pen.x = Math.min(pad.width, Math.max(0, pen.x + right * step));
  pen.y = Math.min(pad.height, Math.max(0, pen.y + down * step));
  if (writing === "keyboard") extend([{ ...pen }]);
}

const KEYS = {
  ...Object.fromEntries(Object.entries(ARROWS).map(([key, by]) => [key, () => move(...by)])),
  " ": () => (writing === "keyboard" ? end() : begin("keyboard", { ...pen })),
  Backspace: undo,
  Escape: clear,
};

pad.addEventListener("keydown", (event) => {
  if (!KEYS[event.key] || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault(); // neither scroll nor go back
  KEYS[event.key]();
  update();
});

pad.addEventListener("focus", update);
pad.addEventListener("blur", end);

function showPen() {
  const mark = find("pen");
  mark.hidden = !pad.matches(":focus-visible");
  mark.classList.toggle("down", writing === "keyboard");
  mark.style.left = `${(100 * pen.x) / pad.width}%`;
  mark.style.top = `${(100 * pen.y) / pad.height}%`;
}

update();
