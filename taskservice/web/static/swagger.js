// A list of ids is entered as a list of texts. Without a component for their format Swagger UI warns in the console.
const fieldForIds = (system) => ({
  components: {
    JsonSchema_string_uuid: (props) => system.React.createElement(system.getComponent("JsonSchema_string"), props),
  },
});

readDescription().then((spec) => {
  const token = readToken();
  const ui = SwaggerUIBundle({
    spec,
    dom_id: "#swagger-ui",
    deepLinking: true,
    displayRequestDuration: true,
    filter: true,
    persistAuthorization: true,
    tryItOutEnabled: true,
    validatorUrl: null,
    plugins: [fieldForIds],
    operationsSorter: (a, b) => takesMany(a.get("method"), a.get("path")) - takesMany(b.get("method"), b.get("path")),
    onComplete: () => token && ui.preauthorizeApiKey("bearer", token),
  });
});
