// The endpoints, from the service's own description.
const description = await (await fetch("openapi.json")).json();

function make(tag, text, ...inside) {
  const element = document.createElement(tag);
  element.textContent = text;
  element.append(...inside);
  return element;
}

function named(schema) {
  const name = schema?.$ref?.split("/").pop();
  return name ? description.components.schemas[name] : schema;
}

function typeOf(field) {
  if (field.$ref) return field.$ref.split("/").pop();
  if (field.enum) return field.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (field.const !== undefined) return JSON.stringify(field.const);
  if (field.anyOf) return field.anyOf.map(typeOf).join(" | ");
  if (field.type === "array") return field.prefixItems ? `[${field.prefixItems.map(typeOf).join(", ")}]` : `list of ${typeOf(field.items ?? {})}`;
  return field.format === "binary" ? "file" : (field.type ?? "anything");
}

function fields(schema) {
  const table = document.createElement("table");
  for (const [name, field] of Object.entries(named(schema)?.properties ?? {})) {
    const usual = field.default === undefined || field.default === null ? "" : ` = ${JSON.stringify(field.default)}`;
    const code = make("td", "", make("code", name));
    table.append(make("tr", "", code, make("td", typeOf(field) + usual), make("td", field.description ?? "")));
  }
  return table;
}

for (const [path, verbs] of Object.entries(description.paths)) {
  for (const [verb, told] of Object.entries(verbs)) {
    const head = make("h2", "", make("span", `${verb.toUpperCase()} `), make("code", path));
    head.firstChild.className = "verb";
    const article = make("article", "", head, make("p", told.description ?? ""));
    for (const [kind, { schema }] of Object.entries(told.requestBody?.content ?? {})) {
      article.append(make("h3", kind), fields(schema));
    }
    const answer = told.responses?.["200"]?.content?.["application/json"]?.schema;
    if (named(answer)?.properties) article.append(make("details", "", make("summary", "Answer"), fields(answer)));
    document.getElementById("paths").append(article);
  }
}
