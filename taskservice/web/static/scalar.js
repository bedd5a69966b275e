// Nothing may leave this origin: no fonts, no telemetry, no proxy, no assistant.
readDescription().then((content) => {
  const token = readToken();
  Scalar.createApiReference("#scalar", {
    content,
    withDefaultFonts: false,
    telemetry: false,
    persistAuth: true,
    agent: { disabled: true },
    mcp: { disabled: true },
    defaultOpenAllTags: true,
    operationsSorter: (a, b) => takesMany(a.method, a.path) - takesMany(b.method, b.path),
    showDeveloperTools: "never",
    hideClientButton: true,
    ...(token && { authentication: { preferredSecurityScheme: "bearer", securitySchemes: { bearer: { token } } } }),
  });
});
