// A web application that denoises the photographs of its users, without packages: `node server.mjs`.
// POST a file to /photos. The upload is streamed to the service, and the image back to the user.
import { createServer } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

const service = process.env.DENOISER_URL ?? "http://localhost:8000";
const seconds = 20; // how long a user waits
const headers = { "Content-Type": "application/octet-stream", "X-Request-Timeout": String(seconds), Accept: "image/jpeg" };
if (process.env.DENOISER_KEY) headers.Authorization = `Bearer ${process.env.DENOISER_KEY}`;

async function denoise(request, response) {
  const signal = AbortSignal.timeout((seconds + 1) * 1000);
  const body = Readable.toWeb(request);
  const reply = await fetch(`${service}/denoise`, { method: "POST", headers, body, duplex: "half", signal });
  if (reply.ok) {
    response.writeHead(200, { "Content-Type": "image/jpeg", "X-Noise-Sigma": reply.headers.get("X-Noise-Sigma") ?? "" });
    await pipeline(Readable.fromWeb(reply.body), response);
    return;
  }
  const { detail } = await reply.json(); // a problem document
  if ([429, 503, 504].includes(reply.status)) {
    answer(response, 503, "busy, please try again", { "Retry-After": reply.headers.get("Retry-After") ?? "5" });
  } else if ([413, 415, 422].includes(reply.status)) {
    answer(response, reply.status, detail); // what is wrong with the user's file
  } else {
    console.error(reply.status, detail); // a mistake of this application, such as a wrong key
    answer(response, 500, "internal error");
  }
}

function answer(response, status, detail, extra = {}) {
  response.writeHead(status, { "Content-Type": "application/json", ...extra }).end(JSON.stringify({ detail }));
}

const server = createServer((request, response) => {
  if (request.method !== "POST" || request.url !== "/photos") return answer(response, 404, "POST a file to /photos");
  denoise(request, response).catch((error) => {
    console.error(error);
    if (response.headersSent) response.destroy();
    else answer(response, 503, "photographs cannot be denoised now", { "Retry-After": "5" });
  });
});
server.listen(process.env.PORT ?? 8080);
