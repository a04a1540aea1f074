// The plane of a code of two numbers: which part of it is shown, where the codes of test digits lie, and where none do.

import { color } from "./ui.js";

const CELLS = 64; // cells of the gaps along the width
const REACH = 0.02; // how far the neighbourhood of a point reaches, as a share of the plane's sides
const OUTER = 0.005; // share of the codes that lie beyond each edge of the plane
const MARGIN = 0.06; // of the plane's sides

export class PlaneMap {
  /** `values`: Float32Array of N times 2; `labels`: Uint8Array of N, the class of each digit. */
  constructor({ values, labels }) {
    this.values = values;
    this.labels = labels;
    const [left, right] = this.#range(0);
    const [top, bottom] = this.#range(1);
    this.left = left;
    this.top = top;
    this.width = right - left;
    this.height = bottom - top;
    this.centres = this.#medians();
  }

  #range(axis) {
    const sorted = Float32Array.from(this.labels, (_, index) => this.values[2 * index + axis]).sort();
    const low = sorted[Math.floor(sorted.length * OUTER)];
    const high = sorted[Math.ceil(sorted.length * (1 - OUTER)) - 1];
    return [low - MARGIN * (high - low), high + MARGIN * (high - low)];
  }

  /** Return the medians of the codes of each digit, or null for a digit without any. */
  #medians() {
    const groups = Array.from({ length: 10 }, () => [[], []]);
    this.labels.forEach((label, index) => {
      groups[label][0].push(this.values[2 * index]);
      groups[label][1].push(this.values[2 * index + 1]);
    });
    const median = (numbers) => numbers.sort((a, b) => a - b)[numbers.length >> 1];
    return groups.map(([x, y]) => (x.length ? [median(x), median(y)] : null));
  }

  get middle() {
    return [this.left + this.width / 2, this.top + this.height / 2];
  }

  /** Return where a code lies on a screen of this width and height. */
  toScreen([x, y], { width, height }) {
    return [((x - this.left) / this.width) * width, ((y - this.top) / this.height) * height];
  }

  /** Return where code number `index` lies on a screen. */
  place(index, screen) {
    return this.toScreen([this.values[2 * index], this.values[2 * index + 1]], screen);
  }

  /** Return the code under a pointer event on a canvas. */
  codeAt(event, canvas) {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    return [this.left + ((event.clientX - left) / width) * this.width, this.top + ((event.clientY - top) / height) * this.height];
  }

  /** Return the code that is (dx, dy) sides of the plane away from another one, or at the edge. */
  step([x, y], [dx, dy]) {
    const clamp = (value, low, size) => Math.min(low + size, Math.max(low, value));
    return [clamp(x + dx * this.width, this.left, this.width), clamp(y + dy * this.height, this.top, this.height)];
  }

  /** Return the codes in the middles of a grid of cells, row by row, as one Float32Array. */
  grid(columns, rows) {
    return Float32Array.from({ length: 2 * columns * rows }, (_, index) => {
      const cell = index >> 1;
      return index % 2
        ? this.top + ((Math.floor(cell / columns) + 0.5) / rows) * this.height
        : this.left + (((cell % columns) + 0.5) / columns) * this.width;
    });
  }

  /** Return the two class centres that are farthest apart. */
  farthestCentres() {
    const known = this.centres.filter(Boolean);
    let best = { ends: [known[0], known[0]], distance: -1 };
    for (const first of known) {
      for (const second of known) {
        const distance = Math.hypot((first[0] - second[0]) / this.width, (first[1] - second[1]) / this.height);
        if (distance > best.distance) best = { ends: [first, second], distance };
      }
    }
    return best.ends;
  }

  /** Return how many codes of each class lie around a point. */
  countsAround([x, y]) {
    const counts = new Array(10).fill(0);
    this.labels.forEach((label, index) => {
      const dx = (this.values[2 * index] - x) / this.width;
      const dy = (this.values[2 * index + 1] - y) / this.height;
      if (dx * dx + dy * dy < REACH * REACH) counts[label]++;
    });
    return counts;
  }

  /** Whether no code lies around a point. */
  isGap(point) {
    return this.countsAround(point).every((count) => count === 0);
  }

  /** Return what lies around a point in words: the most frequent class nearby, or that there is a gap. */
  describe(point) {
    const counts = this.countsAround(point);
    const total = counts.reduce((sum, count) => sum + count, 0);
    if (!total) return "a gap: no test digit is here";
    const most = counts.indexOf(Math.max(...counts));
    return `${total} test digit${total > 1 ? "s" : ""}, ${Math.round((100 * counts[most]) / total)}\u00a0% of them\u00a0${most}`;
  }

  /** Return a canvas in which the cells are hatched that have no code, nor a neighbour with one. */
  hatchedGaps(width, height) {
    const columns = CELLS;
    const rows = Math.max(1, Math.round((CELLS * height) / width));
    const empty = this.#emptyCells(columns, rows);
    const canvas = new OffscreenCanvas(Math.round(width), Math.round(height));
    const context = canvas.getContext("2d");
    context.beginPath();
    for (const cell of empty) {
      const x = ((cell % columns) / columns) * width;
      const y = (Math.floor(cell / columns) / rows) * height;
      context.rect(x, y, width / columns + 0.5, height / rows + 0.5);
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

  #emptyCells(columns, rows) {
    const near = new Uint8Array(columns * rows);
    for (let index = 0; index < this.labels.length; index++) {
      const [x, y] = this.place(index, { width: columns, height: rows }).map(Math.floor);
      for (let row = Math.max(0, y - 1); row <= Math.min(rows - 1, y + 1); row++) {
        for (let column = Math.max(0, x - 1); column <= Math.min(columns - 1, x + 1); column++) near[row * columns + column] = 1;
      }
    }
    return [...near.keys()].filter((cell) => !near[cell]);
  }
}
