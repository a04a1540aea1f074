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

/** Return the response of a file of this page. */
export async function getFile(name) {
  const response = await fetch(new URL(name, import.meta.url)).catch(() => null);
  if (!response?.ok) throw noAnswer();
  return response;
}

/** Return the error of a request without a response; a large body may be the reason. */
export function noAnswer(body) {
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
