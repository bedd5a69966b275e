// Nothing may leave this origin: no fonts, no telemetry, no proxy, no assistant.
Scalar.createApiReference("#scalar", {
  url: "openapi.json",
  withDefaultFonts: false,
  telemetry: false,
  persistAuth: true,
  agent: { disabled: true },
  mcp: { disabled: true },
  defaultOpenAllTags: true,
  showDeveloperTools: "never",
  hideClientButton: true,
});
