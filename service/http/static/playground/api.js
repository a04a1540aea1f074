// Requests to the service, by its public API. The address is that of this file, so a path prefix of a proxy needs no setting.

export const base = new URL("../../", import.meta.url);
let key = "";

/** Use an API key for all further requests. It stays in the memory of this page. */
export function useKey(value) {
  key = value.trim();
}

export const hasKey = () => key !== "";

/** A failed request, as a sentence for people. `status` is 0 if there was no response. */
export class RequestError extends Error {
  constructor(sentence, status = 0, type = "") {
    super(sentence);
    this.status = status;
    this.type = type;
  }
}

/**
 * Send a request and return {body: ArrayBuffer, header(name), milliseconds}.
 * `onProgress` is called with the phase ("sending", "computing", "receiving") and its fraction, or null.
 * Throws RequestError, or an AbortError if `signal` cancels it.
 */
export function send(path, { method = "POST", query = {}, body = null, type = "", accept = "", signal, onProgress } = {}) {
  const url = new URL(path, base);
  for (const [name, value] of Object.entries(query)) if (value !== "" && value != null) url.searchParams.set(name, value);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    request.responseType = "arraybuffer";
    if (type) request.setRequestHeader("Content-Type", type);
    if (accept) request.setRequestHeader("Accept", accept);
    if (key) request.setRequestHeader("Authorization", `Bearer ${key}`);
    if (onProgress) {
      request.upload.onprogress = (event) => onProgress("sending", event.loaded / event.total);
      request.upload.onload = () => onProgress("computing", null);
      request.onprogress = (event) => onProgress("receiving", event.lengthComputable ? event.loaded / event.total : null);
    }
    const started = performance.now();
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) {
        resolve({
          body: request.response,
          header: (name) => request.getResponseHeader(name),
          milliseconds: performance.now() - started,
        });
      } else {
        reject(problem(request));
      }
    };
    request.onerror = () => reject(noAnswer(body));
    request.onabort = () => reject(new DOMException("The request was cancelled.", "AbortError"));
    if (signal) {
      if (signal.aborted) return reject(new DOMException("The request was cancelled.", "AbortError"));
      signal.addEventListener("abort", () => request.abort(), { once: true });
    }
    request.send(body);
  });
}

function noAnswer(body) {
  const size = body?.size ?? body?.byteLength ?? 0;
  return new RequestError(
    size > 32e6
      ? "The connection was closed. The service is gone, or the file is larger than it takes."
      : "The service does not answer. Check that it is running, then try again.",
  );
}

/** Return the RequestError of a response, from its problem document if it is one. */
function problem(request) {
  let document = {};
  try {
    document = JSON.parse(new TextDecoder().decode(request.response));
  } catch {
    // A proxy answered.
  }
  const { title = `The service answered with status ${request.status}`, detail = "", type = "" } = document;
  let sentence = detail ? `${title}: ${detail}` : title;
  if (request.status === 401) {
    sentence = key
      ? "The service does not know this API key. Check the key at the top of the page."
      : "This service needs an API key. Enter yours under “Key” at the top of the page.";
  }
  const retry = request.getResponseHeader("Retry-After");
  if (retry && request.status !== 401) sentence += ` (try again in ${retry} s)`;
  return new RequestError(/[.!?)]$/.test(sentence) ? sentence : `${sentence}.`, request.status, type);
}

/** Return the JSON of a GET request. */
export async function getJson(path) {
  return JSON.parse(await getText(path));
}

/** Return the text of a GET request. */
export async function getText(path) {
  const { body } = await send(path, { method: "GET" });
  return new TextDecoder().decode(body);
}

let models = null;

/** Return the models of the service, from /models. A failed request is repeated at the next call. */
export function listModels() {
  models ??= getJson("models").catch((error) => {
    models = null;
    throw error;
  });
  return models;
}

/** Forget the list of models, so that the next call asks again. */
export function forgetModels() {
  models = null;
  cards.clear();
}

const cards = new Map();

/** Return a served model with its card, from /models/NAME. */
export function getModel(name) {
  if (!cards.has(name)) {
    const promise = getJson(`models/${encodeURIComponent(name)}`);
    promise.catch(() => cards.delete(name));
    cards.set(name, promise);
  }
  return cards.get(name);
}

/** Return the served models with their cards for which `test` is true. */
export async function modelsWith(test) {
  const { models: listed } = await listModels();
  const all = await Promise.all(listed.map((model) => getModel(model.name)));
  return all.filter(test);
}

/** Whether a model takes pictures of handwritten digits as this page makes them: 28 by 28, grey. */
export function takesDigits({ card }) {
  return card.input.kind === "image" && card.input.height === 28 && card.input.width === 28 && card.input.channels === 1;
}

const NPY = "application/x-npy";

/** Return a C-ordered .npy file of a Uint8Array or Float32Array. */
export function toNpy(values, shape) {
  const kind = values instanceof Float32Array ? "<f4" : "|u1";
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  let header = `{'descr': '${kind}', 'fortran_order': False, 'shape': (${sizes}), }`;
  header += " ".repeat(63 - ((10 + header.length) % 64)) + "\n";
  const file = new Uint8Array(10 + header.length + values.byteLength);
  file.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length & 255, header.length >> 8]);
  file.set(new TextEncoder().encode(header), 10);
  file.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), 10 + header.length);
  return file;
}

/** Return {values, shape} of a .npy file with bytes or little-endian floats of 32 bits. */
export function fromNpy(buffer) {
  const start = 10 + new DataView(buffer).getUint16(8, true);
  const header = new TextDecoder().decode(new Uint8Array(buffer, 10, start - 10));
  const shape = header.match(/'shape': \(([^)]*)\)/)[1].split(",").filter((part) => part.trim()).map(Number);
  const data = buffer.slice(start);
  return { values: header.includes("f4") ? new Float32Array(data) : new Uint8Array(data), shape };
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
  return { ...result, digit: await grayPixels(result.image, result.type) };
}

/** Return the gray values of a picture in base64. */
async function grayPixels(image, type) {
  const bytes = Uint8Array.from(atob(image), (character) => character.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type }));
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  return Uint8Array.from({ length: data.length / 4 }, (_, index) => data[4 * index]);
}
