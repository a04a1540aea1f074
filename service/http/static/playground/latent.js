// The section Latent space: the codes of test digits as points of a plane, and what any point decodes to.

import { decode, encode, modelsWith, send, takesDigits, fromNpy, toNpy } from "./api.js";
import { loadCodes } from "./digits.js";
import { $, announce, between, CLASS_COLORS, color, digitImage, drawDigit, drawStrip, element, fillModels, guarded, latest, sharpen } from "./ui.js";

const STRIP = 11; // digits along a line
const CELLS = 64; // cells of the gap map along the wider side
const TILE = 44; // smallest side of a decoded digit behind the points, in CSS pixels
const IN_FLIGHT = 4; // requests sent before the first is answered, so that a slow network still gives 30 pictures a second
const REACH = 0.02; // how far the neighbourhood of a point reaches, as a share of the plane's width
const NPY = "application/x-npy";

let model; // the chosen model with its card
let codes; // {values: Float32Array of N times 2, labels: Uint8Array of N}
let centres; // the medians of the codes of each digit, or null for a digit without any
let view; // {left, top, width, height} of the shown part of the plane, in units of the code
let plane;
let ground = null; // the map behind the points, as a canvas
let points = null; // the map and the points as a canvas, which stays the same while the cursor moves
let decoded = null; // the digit at the cursor
let point = [0, 0];
let line = null; // [first, last]
let pending = null; // the end of a line that is set by the keyboard
const hiddenClasses = new Set();
const arrivals = [];

export async function start() {
  const models = await modelsWith((one) => one.card.code.shape.join() === "2" && takesDigits(one) && one.operations.includes("decode"));
  if (!models.length) throw new Error("No model of this service encodes a digit as two numbers. Fit the recipe digits-2d.");
  plane = $("#plane");
  fillModels($("#plane-model"), models, "digits-2d");
  $("#plane-model").addEventListener("change", () => guarded(() => use(models)));
  $("#plane-ground").addEventListener("change", () => guarded(drawGround));
  bindClasses();
  bindPointer();
  plane.addEventListener("keydown", pressKey);
  new ResizeObserver(latest(drawGround)).observe(plane);
  document.addEventListener("theme", () => guarded(drawGround));
  await use(models);
}

export async function retry() {
  await drawGround();
}

async function use(models) {
  model = models.find((one) => one.name === $("#plane-model").value);
  codes = await loadCodes(model, encode);
  view = viewOf(codes.values);
  centres = classCentres();
  line = null;
  pending = null;
  $("#plane-note").textContent = codes.note;
  $("#latent-strip").getContext("2d").clearRect(0, 0, 1e4, 1e4);
  await drawGround();
  moveTo([view.left + view.width / 2, view.top + view.height / 2]);
  await setLine(...farClasses());
}

/** Return the part of the plane that holds all but the outermost codes, with a margin. */
function viewOf(values) {
  const [left, right] = spread(values, 0);
  const [top, bottom] = spread(values, 1);
  return { left, top, width: right - left, height: bottom - top };
}

function spread(values, axis) {
  const sorted = Float32Array.from({ length: values.length / 2 }, (_, index) => values[2 * index + axis]).sort();
  const low = sorted[Math.floor(sorted.length * 0.005)];
  const high = sorted[Math.ceil(sorted.length * 0.995) - 1];
  const margin = 0.06 * (high - low);
  return [low - margin, high + margin];
}

/** Return the centres of two classes that are far apart, as a first line to look at. */
function farClasses() {
  const known = centres.filter(Boolean);
  let best = [0, 0, -1];
  for (const [i, a] of known.entries()) {
    for (const [j, b] of known.entries()) {
      const distance = Math.hypot((a[0] - b[0]) / view.width, (a[1] - b[1]) / view.height);
      if (distance > best[2]) best = [i, j, distance];
    }
  }
  return [known[best[0]], known[best[1]]];
}

/** Return the medians of the codes of each digit, or null for a digit without any. */
function classCentres() {
  const groups = Array.from({ length: 10 }, () => [[], []]);
  codes.labels.forEach((label, index) => {
    groups[label][0].push(codes.values[2 * index]);
    groups[label][1].push(codes.values[2 * index + 1]);
  });
  const median = (numbers) => numbers.sort((a, b) => a - b)[numbers.length >> 1];
  return groups.map(([x, y]) => (x.length ? [median(x), median(y)] : null));
}

// Drawing

const toScreen = ([x, y], { width, height }) => [((x - view.left) / view.width) * width, ((y - view.top) / view.height) * height];

function toCode(event) {
  const { left, top, width, height } = plane.getBoundingClientRect();
  return [view.left + ((event.clientX - left) / width) * view.width, view.top + ((event.clientY - top) / height) * view.height];
}

async function drawGround() {
  if (!codes) return;
  const kind = $("#plane-ground").value;
  const { width, height } = plane.getBoundingClientRect();
  if (!width) return;
  ground = null;
  if (kind === "digits") ground = await decodedMap(width, height);
  else if (kind === "gaps") ground = gapMap(width, height);
  drawPlane();
}

/** Return a canvas of the digits that an even grid of codes decodes to. */
async function decodedMap(width, height) {
  const columns = Math.max(4, Math.floor(width / TILE));
  const rows = Math.max(4, Math.floor(height / TILE));
  const grid = Float32Array.from({ length: 2 * columns * rows }, (_, index) => {
    const cell = index >> 1;
    return index % 2
      ? view.top + ((Math.floor(cell / columns) + 0.5) / rows) * view.height
      : view.left + (((cell % columns) + 0.5) / columns) * view.width;
  });
  const digits = await decode(model.name, grid, [2]);
  const canvas = new OffscreenCanvas(28 * columns, 28 * rows);
  const context = canvas.getContext("2d");
  for (let cell = 0; cell < columns * rows; cell++) {
    context.putImageData(digitImage(digits, 784 * cell), 28 * (cell % columns), 28 * Math.floor(cell / columns));
  }
  return canvas;
}

/** Return a canvas in which the cells without any code nearby are hatched. */
function gapMap(width, height) {
  const columns = CELLS;
  const rows = Math.max(1, Math.round((CELLS * height) / width));
  const counts = new Uint16Array(columns * rows);
  for (let index = 0; index < codes.labels.length; index++) {
    const [x, y] = toScreen([codes.values[2 * index], codes.values[2 * index + 1]], { width: columns, height: rows });
    if (x >= 0 && y >= 0 && x < columns && y < rows) counts[Math.floor(y) * columns + Math.floor(x)]++;
  }
  const empty = (column, row) => {
    for (let dy = -1; dy <= 1; dy++) {
      for (let dx = -1; dx <= 1; dx++) {
        const inside = column + dx >= 0 && column + dx < columns && row + dy >= 0 && row + dy < rows;
        if (inside && counts[(row + dy) * columns + column + dx]) return false;
      }
    }
    return true;
  };
  const canvas = new OffscreenCanvas(Math.round(width), Math.round(height));
  const context = canvas.getContext("2d");
  context.beginPath();
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      if (empty(column, row)) context.rect((column / columns) * width, (row / rows) * height, width / columns + 0.5, height / rows + 0.5);
    }
  }
  context.clip();
  context.strokeStyle = color("edge");
  context.globalAlpha = 0.4;
  context.beginPath();
  for (let at = -height; at < width; at += 8) {
    context.moveTo(at, height);
    context.lineTo(at + height, 0);
  }
  context.stroke();
  return canvas;
}

function drawPlane() {
  const { context, width, height } = sharpen(plane);
  const screen = { width, height };
  const onDigits = $("#plane-ground").value === "digits";
  if (ground) {
    context.imageSmoothingEnabled = !onDigits;
    context.drawImage(ground, 0, 0, width, height);
  }
  const radius = Math.max(1.25, Math.min(2.5, width / 450));
  context.globalAlpha = 0.8;
  for (let label = 0; label < 10; label++) {
    if (hiddenClasses.has(label)) continue;
    context.fillStyle = CLASS_COLORS[label];
    context.beginPath();
    for (let index = 0; index < codes.labels.length; index++) {
      if (codes.labels[index] !== label) continue;
      const [x, y] = toScreen([codes.values[2 * index], codes.values[2 * index + 1]], screen);
      context.moveTo(x + radius, y);
      context.arc(x, y, radius, 0, 7);
    }
    context.fill();
  }
  context.globalAlpha = 1;
  points = new OffscreenCanvas(plane.width, plane.height);
  points.getContext("2d").drawImage(plane, 0, 0);
  drawOverlay();
}

/** Draw the points, and above them what moves: the line, the cursor and its digit. */
function drawOverlay() {
  if (!points) return;
  const screen = plane.getBoundingClientRect();
  const context = plane.getContext("2d");
  context.save();
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, plane.width, plane.height);
  context.drawImage(points, 0, 0);
  context.restore();
  if (line) drawLine(context, screen);
  drawCentres(context, screen);
  drawCursor(context, screen);
}

function drawCentres(context, screen) {
  context.font = "700 17px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineWidth = 5;
  context.lineJoin = "round";
  context.strokeStyle = color("panel");
  context.fillStyle = color("ink");
  centres.forEach((centre, label) => {
    if (!centre || hiddenClasses.has(label)) return;
    const [x, y] = toScreen(centre, screen);
    context.strokeText(String(label), x, y);
    context.fillText(String(label), x, y);
  });
}

function drawLine(context, screen) {
  const [[x1, y1], [x2, y2]] = line.map((end) => toScreen(end, screen));
  for (const [style, width] of [[color("panel"), 6], [color("sand"), 3]]) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(x1, y1);
    context.lineTo(x2, y2);
    context.stroke();
  }
  context.fillStyle = color("sand");
  for (const [x, y] of [[x1, y1], [x2, y2]]) {
    context.beginPath();
    context.arc(x, y, 6, 0, 7);
    context.fill();
  }
}

function drawCursor(context, screen) {
  const [x, y] = toScreen(point, screen);
  for (const [style, width] of [[color("panel"), 5], [color("ink"), 2]]) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.beginPath();
    context.arc(x, y, 9, 0, 7);
    context.stroke();
  }
  if (!decoded) return;
  const side = Math.min(96, screen.width / 4);
  const left = x + 18 + side > screen.width ? x - 18 - side : x + 18;
  const top = Math.min(screen.height - side - 6, Math.max(6, y - 18 - side));
  context.imageSmoothingEnabled = false;
  context.drawImage(decoded, left, top, side, side);
  context.strokeStyle = color("edge");
  context.lineWidth = 1.5;
  context.strokeRect(left, top, side, side);
}

// The point under the cursor

let inFlight = 0;
let sent = 0;
let shown = 0;
let queued = null;
let frame = 0;

/** Decode the point under the cursor. Points that the service cannot follow are left out, and late answers are ignored. */
function moveTo(next) {
  point = next;
  queued = Float32Array.from(next);
  redraw();
  request();
}

function redraw() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    drawOverlay();
    describe();
  });
}

async function request() {
  if (!queued || inFlight >= IN_FLIGHT) return;
  const code = queued;
  queued = null;
  inFlight++;
  const number = ++sent;
  await guarded(async () => {
    const answer = await send("decode", { query: { model: model.name }, body: toNpy(code, [1, 2]), type: NPY, accept: NPY });
    if (number < shown) return;
    shown = number;
    decoded = $("#decoded");
    drawDigit(decoded, fromNpy(answer.body).values);
    redraw();
    $("#decoded").dataset.point = [...code].join();
    countPicture();
  });
  inFlight--;
  request();
}

function countPicture() {
  const now = performance.now();
  arrivals.push(now);
  while (arrivals[0] < now - 1000) arrivals.shift();
  $('[data-plane="rate"]').textContent = String(arrivals.length);
}

function describe() {
  $('[data-plane="point"]').textContent = point.map((value) => value.toFixed(2)).join(", ");
  $('[data-plane="near"]').textContent = neighbourhood(point);
}

/** Return what lies around a point in words: the most frequent class nearby, or that there is a gap. */
function neighbourhood([x, y]) {
  const counts = new Array(10).fill(0);
  for (let index = 0; index < codes.labels.length; index++) {
    const dx = (codes.values[2 * index] - x) / view.width;
    const dy = (codes.values[2 * index + 1] - y) / view.height;
    if (dx * dx + dy * dy < REACH * REACH) counts[codes.labels[index]]++;
  }
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (!total) return "a gap: no test digit is here";
  const most = counts.indexOf(Math.max(...counts));
  return `${total} test digit${total > 1 ? "s" : ""}, ${Math.round((100 * counts[most]) / total)}\u00a0% of them\u00a0${most}`;
}

// Lines

async function setLine(first, last) {
  line = [first, last];
  drawOverlay();
  await drawLineDigits(first, last);
}

const drawLineDigits = latest(async (first, last) => {
  drawStrip($("#latent-strip"), await decode(model.name, between(first, last, STRIP), [2]));
  const empty = Array.from({ length: STRIP }, (_, step) => between(first, last, STRIP).subarray(2 * step, 2 * step + 2)).filter((code) =>
    neighbourhood(code).startsWith("a gap"),
  ).length;
  $("#latent-strip-note").textContent = `${STRIP} points in even steps, ${empty ? `${empty} of them in a gap` : "none of them in a gap"}.`;
});

function bindPointer() {
  let from = null;
  plane.addEventListener("pointerdown", (event) => {
    plane.setPointerCapture(event.pointerId);
    from = { code: toCode(event), x: event.clientX, y: event.clientY };
    moveTo(from.code);
  });
  plane.addEventListener("pointermove", (event) => {
    const code = toCode(event);
    moveTo(code);
    if (from && Math.hypot(event.clientX - from.x, event.clientY - from.y) > 8) setLine(from.code, code);
  });
  for (const type of ["pointerup", "pointercancel"]) plane.addEventListener(type, () => (from = null));
}

function pressKey(event) {
  const step = event.shiftKey ? 0.05 : 0.01;
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  if (moves[event.key]) {
    const [dx, dy] = moves[event.key];
    const clamp = (value, low, size) => Math.min(low + size, Math.max(low, value));
    moveTo([clamp(point[0] + dx * view.width, view.left, view.width), clamp(point[1] + dy * view.height, view.top, view.height)]);
    announce(neighbourhood(point));
  } else if (event.key === "Enter" || event.key === " ") {
    if (pending) setLine(pending, point);
    announce(pending ? "The line is drawn." : "This is the start of a line. Move, and press Enter again.");
    pending = pending ? null : point;
  } else return;
  event.preventDefault();
}

function bindClasses() {
  $("#plane-classes").replaceChildren(
    ...CLASS_COLORS.map((shade, label) => {
      const button = element("button", { type: "button", textContent: String(label) });
      button.style.borderBottomColor = shade;
      button.setAttribute("aria-pressed", "true");
      button.addEventListener("click", () => {
        const hidden = !hiddenClasses.delete(label);
        if (hidden) hiddenClasses.add(label);
        button.setAttribute("aria-pressed", String(!hidden));
        drawPlane();
      });
      return button;
    }),
  );
}
