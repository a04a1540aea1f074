// Test digits (MNIST) that are shipped with the page, and the codes that models of the plane give to all of them.

import { getFile } from "./api.js";

let facts = null;
let pictures = null;

/** Return {columns, labels, codes} of the sheet: its columns, the classes of its digits, and the models with stored codes. */
function readFacts() {
  facts ??= getFile("digits.json")
    .then((response) => response.json())
    .catch((error) => {
      facts = null;
      throw error;
    });
  return facts;
}

/** Return {digits: Uint8Array of N times 784, labels: Uint8Array of N} of the shipped test digits. */
export function loadDigits() {
  pictures ??= readDigits().catch((error) => {
    pictures = null;
    throw error;
  });
  return pictures;
}

/** Read the sheet of digits. */
async function readDigits() {
  const [{ columns, labels }, sheet] = await Promise.all([
    readFacts(),
    getFile("digits.png").then((response) => response.blob()).then(createImageBitmap),
  ]);
  const canvas = new OffscreenCanvas(sheet.width, sheet.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(sheet, 0, 0);
  const digits = new Uint8Array(784 * labels.length);
  for (let index = 0; index < labels.length; index++) {
    const { data } = context.getImageData(28 * (index % columns), 28 * Math.floor(index / columns), 28, 28);
    for (let at = 0; at < 784; at++) digits[784 * index + at] = data[4 * at];
  }
  return { digits, labels: Uint8Array.from(labels, Number) };
}

/**
 * Return {values: Float32Array of N times 2, labels: Uint8Array of N, note} of the codes of test digits.
 * The stored codes are of one graph, which the card names by its hash. For any other graph, the shipped digits are encoded.
 */
export async function loadCodes({ name, version, card }, encode) {
  const graph = card.graphs.find(({ operation, precision }) => operation === "encode" && precision === "float32");
  if ((await readFacts()).codes.includes(name)) {
    const stored = await getFile(`codes-${name}.json`).then((response) => response.json());
    if (stored.encode_sha256 === graph?.sha256) {
      return { ...unpack(stored), note: `The points are the codes of ${stored.labels.length.toLocaleString("en")} digits of the MNIST test set.` };
    }
  }
  const { digits, labels } = await loadDigits();
  const values = await encode(name, digits);
  return { values, labels, note: `The points are ${labels.length} test digits, which ${name} ${version} has just encoded.` };
}

/** Return the codes of a file: 16 bits for each number, between the smallest and the largest. */
function unpack({ low, high, codes, labels }) {
  const bytes = Uint8Array.from(atob(codes), (character) => character.charCodeAt(0));
  const steps = new Uint16Array(bytes.buffer);
  const values = Float32Array.from(steps, (step, index) => low[index % 2] + (step / 65535) * (high[index % 2] - low[index % 2]));
  return { values, labels: Uint8Array.from(labels, Number) };
}
