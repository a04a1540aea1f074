// Calls the service with the types that openapi-typescript generated, and prints the answers as JSON.
// Arguments: address, API key, file of a digit, file of a photograph.
import { readFile } from "node:fs/promises";
import createClient from "openapi-fetch";
import type { components, paths } from "./hourglass.js";

const [address, key, digit, photo] = process.argv.slice(2) as [string, string, string, string];
const headers = { Accept: "application/json", Authorization: `Bearer ${key}` };
const client = createClient<paths, "application/json" | "application/problem+json">({ baseUrl: address, headers });

const images = [(await readFile(digit)).toString("base64")];
const photographs = [(await readFile(photo)).toString("base64")];

type Result = components["schemas"]["ImageResponse"]["results"][number];
const image = (result?: Result): string => (result && "image" in result ? result.image : "");

const models = await client.GET("/models");
const encoded = await client.POST("/encode", { body: { images } });
const code = encoded.data?.results[0];
const pointed = await client.POST("/encode", { params: { query: { model: "points" } }, body: { values: [[1, 2, 3]] } });
const vector = pointed.data?.results[0];
const denoised = await client.POST("/denoise", { body: { images: photographs } });
const half = await client.POST("/denoise", {
  params: { query: { model: "photos", strength: 0.5 } },
  body: { images: photographs },
});
const failed = await client.POST("/denoise", { body: { images: ["bm90IGFuIGltYWdl"] } });
const problem: components["schemas"]["ProblemDocument"] | undefined = failed.error;
const refused = await client.POST("/encode", { body: { images }, headers: { Authorization: "Bearer wrong" } });

console.log(
  JSON.stringify({
    models: models.data?.models.map((model) => model.name),
    code: code && "code" in code ? code.code : null,
    vector: vector && "code" in vector ? vector.code : null,
    denoised: image(denoised.data?.results[0]),
    half: image(half.data?.results[0]),
    problem,
    refused: refused.error,
  }),
);
