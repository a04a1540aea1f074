// What all sections of the page share: elements, messages, numbers, colours and small pictures.

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

/** Return a new element with properties, `data-` attributes (`data`) and children. */
export function element(tag, { data = {}, ...properties } = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  Object.assign(node.dataset, data);
  node.append(...children);
  return node;
}

/** Show an error as a sentence on the page; an empty one hides it. A cancelled request is no error. */
export function showError(error) {
  if (error?.name === "AbortError") return;
  const alert = $("#alert");
  const sentence = typeof error === "string" ? error : (error?.message ?? "");
  alert.hidden = !sentence;
  alert.textContent = sentence;
  if (error?.status === 401) document.dispatchEvent(new CustomEvent("key-needed"));
}

/** Tell screen readers what has changed. */
export function announce(text) {
  $("#status").textContent = text;
}

let offline = false;

/** Run a function, and show its error on the page. That the service is gone is shown until something succeeds. */
export async function guarded(work) {
  try {
    const result = await work();
    if (offline) showError("");
    offline = false;
    return result;
  } catch (error) {
    offline = error?.status === 0;
    showError(error);
    return undefined;
  }
}

/** Return a function that runs `work` with the latest arguments only, one run at a time. */
export function latest(work) {
  let running = false;
  let waiting = null;
  return async function run(...values) {
    waiting = values;
    if (running) return;
    running = true;
    while (waiting) {
      const next = waiting;
      waiting = null;
      await guarded(() => work(...next));
    }
    running = false;
  };
}

const digits = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
export const format = (value) => digits.format(value);
export const formatBytes = (bytes) => (bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);
export const formatMilliseconds = (value) => (value < 9950 ? `${format(value)} ms` : `${(value / 1e3).toFixed(1)} s`);

/** Return the present value of a colour of the style sheet. */
export function color(name) {
  const probe = $("#color-probe") ?? document.body.appendChild(element("i", { id: "color-probe", hidden: true }));
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

/** Colours of the ten digits. */
export const CLASS_COLORS = ["#4e79a7", "#f28e2b", "#e15759", "#5fb0aa", "#59a14f", "#d3ac12", "#b07aa1", "#ff7f92", "#9c755f", "#7c858a"];

/** Give a canvas as many pixels as the screen has for it, and return its context with the size in CSS pixels. */
export function sharpen(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { context, width, height };
}

const SIDE = 28;

/** Return a digit (784 grey values) as ImageData. */
export function digitImage(values, offset = 0) {
  const image = new ImageData(SIDE, SIDE);
  for (let index = 0; index < SIDE * SIDE; index++) {
    const grey = values[offset + index];
    image.data.set([grey, grey, grey, 255], 4 * index);
  }
  return image;
}

/** Draw a digit on a canvas of 28 by 28. */
export function drawDigit(canvas, values, offset = 0) {
  if (canvas.width !== SIDE || canvas.height !== SIDE) canvas.width = canvas.height = SIDE;
  canvas.getContext("2d").putImageData(digitImage(values, offset), 0, 0);
}

/** Draw digits side by side on a canvas. */
export function drawStrip(canvas, values) {
  const count = values.length / (SIDE * SIDE);
  canvas.width = SIDE * count;
  canvas.height = SIDE;
  const context = canvas.getContext("2d");
  for (let index = 0; index < count; index++) context.putImageData(digitImage(values, index * SIDE * SIDE), SIDE * index, 0);
}

/**
 * Draw the difference of two digits: orange where the first is brighter, blue where the second is.
 * `normalize` makes the largest difference the brightest colour.
 */
export function drawDifference(canvas, first, second, normalize = false) {
  const largest = first.reduce((most, value, index) => Math.max(most, Math.abs(value - second[index])), 1);
  const scale = normalize ? 1 / largest : 1.4 / 255;
  canvas.width = canvas.height = SIDE;
  const image = new ImageData(SIDE, SIDE);
  for (let index = 0; index < SIDE * SIDE; index++) {
    const difference = first[index] - second[index];
    const [red, green, blue] = difference > 0 ? [224, 138, 46] : [63, 143, 210];
    const weight = Math.min(1, Math.abs(difference) * scale);
    image.data.set([red * weight, green * weight, blue * weight, 255], 4 * index);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** Return the mean squared error of two digits, on the 0..1 scale. */
export function meanSquaredError(first, second) {
  let sum = 0;
  for (let index = 0; index < first.length; index++) sum += (first[index] - second[index]) ** 2;
  return sum / first.length / 255 ** 2;
}

/** Fill a select with models, and choose `preferred` if it is one of them. */
export function fillModels(select, models, preferred = "") {
  const chosen = models.find((model) => model.name === preferred) ?? models[0];
  select.replaceChildren(...models.map((model) => element("option", { value: model.name, textContent: model.name, selected: model === chosen })));
}

/** Return the codes from `first` to `last` in `count` even steps, as one Float32Array. */
export function between(first, last, count) {
  const size = first.length;
  return Float32Array.from({ length: size * count }, (_, index) => {
    const share = count === 1 ? 0 : Math.floor(index / size) / (count - 1);
    return first[index % size] * (1 - share) + last[index % size] * share;
  });
}
