// The curl line that sends the same request as the page.

import { base, hasKey } from "./api.js";

const quote = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/** Return the command that sends a file to /denoise with the parameters of a query; empty ones are left out. */
export function curlLine(query, file) {
  const url = new URL("denoise", base);
  for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value);
  const parts = [
    `curl --data-binary ${quote(`@${file.name}`)}`,
    `-H ${quote(`Content-Type: ${file.type || "application/octet-stream"}`)}`,
    ...(hasKey() ? ['-H "Authorization: Bearer $KEY"'] : []),
    `${quote(url.href)} -o ${quote(`denoised-${file.name}`)}`,
  ];
  return parts.join(" \\\n  ");
}
