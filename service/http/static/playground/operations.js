// The operations of models of digits: encode, decode and reconstruct, for many digits in batches.

import { send } from "./api.js";
import { fromNpy, NPY, toNpy } from "./npy.js";

/** Whether a model takes pictures of handwritten digits as this page makes them: 28 by 28, grey. */
export function takesDigits({ card }) {
  return card.input.kind === "image" && card.input.height === 28 && card.input.width === 28 && card.input.channels === 1;
}

const BATCH = 256; // below the default limits of the service

async function inBatches(path, model, values, count, itemShape) {
  const size = values.length / count;
  const parts = [];
  for (let first = 0; first < count; first += BATCH) {
    const items = Math.min(BATCH, count - first);
    const part = values.subarray(first * size, (first + items) * size);
    const answer = await send(path, {
      query: { model },
      body: toNpy(part, [items, ...itemShape]),
      type: NPY,
      accept: NPY,
    });
    parts.push(fromNpy(answer.body).values);
  }
  if (parts.length === 1) return parts[0];
  const whole = new parts[0].constructor(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Return the digits (Uint8Array of N times 784) that codes (Float32Array) decode to. */
export function decode(model, codes, shape) {
  const size = shape.reduce((product, side) => product * side, 1);
  return inBatches("decode", model, codes, codes.length / size, shape);
}

/** Return the codes (Float32Array) of digits (Uint8Array of N times 784). */
export function encode(model, digits) {
  return inBatches("encode", model, digits, digits.length / 784, [28, 28, 1]);
}

/** Return {digit: Uint8Array of 784, mse, psnr, error_percentile} of the reconstruction of a digit. */
export async function reconstruct(model, digit) {
  const answer = await send("reconstruct", {
    query: { model },
    body: toNpy(digit, [1, 28, 28, 1]),
    type: NPY,
    accept: "application/json",
  });
  const [result] = JSON.parse(new TextDecoder().decode(answer.body)).results;
  return { ...result, digit: await greyPixels(result.image, result.type) };
}

/** Return the grey values of a picture in base64. */
async function greyPixels(image, type) {
  const bytes = Uint8Array.from(atob(image), (character) => character.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type }));
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  return Uint8Array.from({ length: data.length / 4 }, (_, index) => data[4 * index]);
}
