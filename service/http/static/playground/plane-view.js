// Draws the plane: what is behind the codes, the codes as points, and above them the line, the cursor and its digit.

import { CLASS_COLORS, color, sharpen } from "./ui.js";

const LABEL_DISTANCE = 19; // between the middles of two labels at least, in CSS pixels
const LABEL_ROUNDS = 30; // in which labels that are too close are moved apart

export class PlaneView {
  #still = null; // a canvas of what stays the same while the cursor moves: the ground and the points
  #labels = []; // of the classes that are shown, with their places
  #colors = {}; // of the style sheet, which takes a while to ask
  #frame = 0;

  constructor(canvas) {
    this.canvas = canvas;
    this.map = null; // the PlaneMap of the codes
    this.ground = null; // a canvas that lies behind the points
    this.smooth = true; // whether the ground is scaled smoothly
    this.hidden = new Set(); // classes without their points
    this.point = [0, 0]; // the code at the cursor
    this.line = null; // two codes
    this.decoded = null; // the canvas with the digit at the cursor
  }

  /** Draw everything. */
  draw() {
    for (const name of ["panel", "ink", "sand", "edge"]) this.#colors[name] = color(name);
    const { context, width, height } = sharpen(this.canvas);
    if (this.ground) {
      context.imageSmoothingEnabled = this.smooth;
      context.drawImage(this.ground, 0, 0, width, height);
    }
    this.#drawPoints(context, { width, height });
    this.#labels = this.#placeLabels({ width, height });
    this.#still = new OffscreenCanvas(this.canvas.width, this.canvas.height);
    this.#still.getContext("2d").drawImage(this.canvas, 0, 0);
    this.#drawOverlay();
  }

  /** Draw what moves with the next frame, then call `done`. */
  redraw(done) {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#drawOverlay();
      done();
    });
  }

  #drawPoints(context, screen) {
    const radius = Math.max(1.25, Math.min(2.5, screen.width / 450));
    context.globalAlpha = 0.8;
    for (let label = 0; label < 10; label++) {
      if (this.hidden.has(label)) continue;
      context.fillStyle = CLASS_COLORS[label];
      context.beginPath();
      for (let index = 0; index < this.map.labels.length; index++) {
        if (this.map.labels[index] !== label) continue;
        const [x, y] = this.map.place(index, screen);
        context.moveTo(x + radius, y);
        context.arc(x, y, radius, 0, 7);
      }
      context.fill();
    }
  }

  #drawOverlay() {
    if (!this.#still) return;
    const screen = this.canvas.getBoundingClientRect();
    const context = this.canvas.getContext("2d");
    context.globalAlpha = 1;
    context.save();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.drawImage(this.#still, 0, 0);
    context.restore();
    if (this.line) this.#drawLine(context, screen);
    this.#drawLabels(context);
    this.#drawCursor(context, screen);
    if (this.decoded) this.#drawDecoded(context, screen);
  }

  /** Return the labels of the shown classes, at the middles of their codes but not above each other. */
  #placeLabels(screen) {
    const shown = [...this.map.centres.keys()].filter((label) => this.map.centres[label] && !this.hidden.has(label));
    const places = moveApart(shown.map((label) => this.map.toScreen(this.map.centres[label], screen)));
    return shown.map((label, index) => ({ text: String(label), place: places[index] }));
  }

  #drawLabels(context) {
    const style = { font: "700 17px system-ui, sans-serif", textAlign: "center", textBaseline: "middle", lineWidth: 5, lineJoin: "round" };
    Object.assign(context, style, { strokeStyle: this.#colors.panel, fillStyle: this.#colors.ink });
    for (const { text, place } of this.#labels) {
      context.strokeText(text, ...place);
      context.fillText(text, ...place);
    }
  }

  #drawLine(context, screen) {
    const ends = this.line.map((end) => this.map.toScreen(end, screen));
    for (const [style, width] of [[this.#colors.panel, 6], [this.#colors.sand, 3]]) {
      context.strokeStyle = style;
      context.lineWidth = width;
      context.beginPath();
      for (const end of ends) context.lineTo(...end);
      context.stroke();
    }
    context.fillStyle = this.#colors.sand;
    for (const [x, y] of ends) {
      context.beginPath();
      context.arc(x, y, 6, 0, 7);
      context.fill();
    }
  }

  #drawCursor(context, screen) {
    const [x, y] = this.map.toScreen(this.point, screen);
    for (const [style, width] of [[this.#colors.panel, 5], [this.#colors.ink, 2]]) {
      context.strokeStyle = style;
      context.lineWidth = width;
      context.beginPath();
      context.arc(x, y, 9, 0, 7);
      context.stroke();
    }
  }

  /** Draw the decoded digit beside the cursor. */
  #drawDecoded(context, screen) {
    const [x, y] = this.map.toScreen(this.point, screen);
    const side = Math.min(96, screen.width / 5);
    const left = x + 18 + side > screen.width ? x - 18 - side : x + 18;
    const top = Math.min(screen.height - side - 6, Math.max(6, y - 18 - side));
    context.imageSmoothingEnabled = false;
    context.drawImage(this.decoded, left, top, side, side);
    context.strokeStyle = this.#colors.edge;
    context.lineWidth = 1.5;
    context.strokeRect(left, top, side, side);
  }
}

/** Return the places of labels, of which those that would overlap are moved apart. */
export function moveApart(places) {
  const moved = places.map((place) => [...place]);
  for (let round = 0; round < LABEL_ROUNDS; round++) {
    for (let first = 0; first < moved.length; first++) {
      for (let second = first + 1; second < moved.length; second++) {
        const x = moved[second][0] - moved[first][0];
        const y = moved[second][1] - moved[first][1];
        const distance = Math.hypot(x, y) || 1;
        const half = Math.max(0, LABEL_DISTANCE - distance) / 2 / distance;
        moved[first] = [moved[first][0] - x * half, moved[first][1] - y * half];
        moved[second] = [moved[second][0] + x * half, moved[second][1] + y * half];
      }
    }
  }
  return moved;
}
