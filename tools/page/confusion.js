"use strict";

// The confusion matrix: a cell opens the test images behind it. All of them are in one picture,
// the sheet, in the order of the rows [index, label, predicted, confidence].

const { columns, rows } = JSON.parse(find("examples-data").textContent);
const confusion = find("confusion");
const cells = [...confusion.querySelectorAll("button")];

function openCell(cell) {
  const [label, predicted] = [Number(cell.dataset.label), Number(cell.dataset.predicted)];
  const images = rows.flatMap((row, position) =>
    row[1] === label && row[2] === predicted ? [{ index: row[0], confidence: row[3], position }] : [],
  );
  const [right, count] = [label === predicted, Number(cell.textContent)];
  for (const other of cells) other.setAttribute("aria-pressed", other === cell);
  find("chosen").textContent = right ? `${label}, read as ${label}` : `${label}, taken for ${predicted}`;
  const all = count === images.length;
  const order = right ? "least" : "most";
  find("which").textContent =
    (all ? `${count} image${count > 1 ? "s" : ""}` : `${images.length} of ${count.toLocaleString("en")} images`) +
    (count > 1 ? `, the ${order} confident first.` : ".");
  find("examples").replaceChildren(...images.map((image) => exampleButton(image, label)));
}

/** A test image over the probability that the network gave its answer. It opens inside. */
function exampleButton({ index, confidence, position }, label) {
  const canvas = make("canvas", { className: "image", width: WIDTH, height: HEIGHT });
  const [x, y] = [position % columns, Math.floor(position / columns)];
  canvas.getContext("2d").drawImage(find("sheet"), -x * WIDTH, -y * HEIGHT);
  const button = make("button", { type: "button", title: `Test image ${index}` }, canvas, percent(confidence));
  button.setAttribute("aria-label", `Look inside: test image ${index}, ${percent(confidence)}`);
  button.addEventListener("click", () => openImage(canvas, `Test image ${index}, a ${label}`));
  return button;
}

/** Answer a test image in a canvas, dark on white or in colour, as if it had been drawn. */
function openImage(canvas, subject) {
  const { data } = canvas.getContext("2d").getImageData(0, 0, WIDTH, HEIGHT);
  const image = EMPTY.map((_, i) => {
    const value = data[4 * (i % (WIDTH * HEIGHT)) + Math.floor(i / (WIDTH * HEIGHT))];
    return (CHANNELS === 1 ? 255 - value : value) / 255;
  });
  clear();
  opened = { image, probabilities: classify(TENSORS, NETWORK, image), several: false, subject };
  find("inside").focus({ preventScroll: true });
  find("inside").scrollIntoView();
}

confusion.addEventListener("click", (event) => {
  const cell = event.target.closest("button");
  if (cell) openCell(cell);
});

/** The cell with most mistakes, or the first one when there are none. */
function worstCell() {
  const mistakes = cells.filter((cell) => !cell.classList.contains("right"));
  const count = (cell) => Number(cell.textContent);
  const worst = mistakes.reduce((a, b) => (count(b) > count(a) ? b : a));
  return count(worst) ? worst : cells[0];
}

find("sheet").decode().then(() => openCell(worstCell()));
