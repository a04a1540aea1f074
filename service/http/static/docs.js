// The service may be behind a proxy that adds a prefix to all paths, so its address is that of this script.
const documentUrl = new URL("../openapi.json", document.currentScript.src);

fetch(documentUrl)
  .then((response) => response.json())
  .then((spec) =>
    SwaggerUIBundle({
      spec: { ...spec, servers: [{ url: new URL(".", documentUrl).href.replace(/\/$/, "") }] },
      dom_id: "#swagger-ui",
      deepLinking: true,
      defaultModelsExpandDepth: 0,
      tryItOutEnabled: true,
      validatorUrl: null,
    }),
  );
