SwaggerUIBundle({
  url: "{{ url_for('docs.show_openapi') }}",
  dom_id: "#page",
  deepLinking: true,
  // The default validator would send the document to a third party.
  validatorUrl: null,
});
