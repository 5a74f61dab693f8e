SwaggerUIBundle({
  url: "{{ url_for('docs.show_openapi') }}",
  dom_id: "#page",
  deepLinking: true,
  // Its online checker would send the document to somebody else.
  validatorUrl: null,
});
