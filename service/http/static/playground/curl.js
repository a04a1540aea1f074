// The curl line that sends the same request as the page.

import { base, hasKey } from "./api.js";
import { announce } from "./ui.js";

const quote = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/** Return the command that sends a file to /denoise with the parameters of a query; empty ones are left out. */
export function curlLine(query, { name, type }) {
  const url = new URL("denoise", base);
  for (const [parameter, value] of Object.entries(query)) if (value) url.searchParams.set(parameter, value);
  const parts = [
    `curl -o ${quote(`denoised-${name}`)}`,
    `--data-binary ${quote(`@${name}`)}`,
    `-H ${quote(`Content-Type: ${type || "application/octet-stream"}`)}`,
    ...(hasKey() ? ['-H "Authorization: Bearer $KEY"'] : []),
    quote(url.href),
  ];
  return parts.join(" \\\n  ");
}

/** Copy the text of an element, and say so on the button. Without HTTPS there is no clipboard: the text is selected. */
export async function copyLine(button, line) {
  try {
    await navigator.clipboard.writeText(line.textContent);
    button.textContent = "Copied";
    announce("The curl line is in the clipboard.");
    setTimeout(() => (button.textContent = "Copy"), 2000);
  } catch {
    getSelection().selectAllChildren(line);
    announce("The curl line is selected.");
  }
}
