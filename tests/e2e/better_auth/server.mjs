// Serves a project as Next.js would: its lib/auth.js, and every app/**/route.js at the path of its directory.
// node server.mjs PROJECT, with PORT and DATABASE_URL in the environment. Migrates first, then prints "ready".
import { readdirSync } from "node:fs";
import { createServer } from "node:http";
import { register } from "node:module";
import { resolve, sep } from "node:path";
import { pathToFileURL } from "node:url";
import { getMigrations } from "better-auth/db/migration";

const project = resolve(process.argv[2]);
const load = (file) => import(pathToFileURL(resolve(project, file)).href);

// "@/lib/auth" is what Next.js projects write.
const hooks = `export const resolve = (name, context, next) =>
  next(name.startsWith("@/") ? ${JSON.stringify(pathToFileURL(project + sep).href)} + name.slice(2) + ".js" : name, context);`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);

const { auth } = await load("lib/auth.js");
const { runMigrations } = await getMigrations(auth.options);
await runMigrations();

const routes = [];
for (const file of readdirSync(resolve(project, "app"), { recursive: true })) {
  if (!file.endsWith(`${sep}route.js`)) continue;
  const path = file.slice(0, -`${sep}route.js`.length).split(sep).join("/");
  const pattern = path
    .replace(/\/\[\[\.\.\.\w+\]\]$/, "(/.*)?")
    .replace(/\/\[\.\.\.\w+\]$/, "/.+");
  routes.push({ pattern: new RegExp(`^/${pattern}$`), exact: pattern === path, module: await load(`app/${file}`) });
}
routes.sort((a, b) => Number(b.exact) - Number(a.exact));

const server = createServer(async (incoming, outgoing) => {
  const url = new URL(incoming.url, `http://${incoming.headers.host}`);
  const handler = routes.find((route) => route.pattern.test(url.pathname))?.module[incoming.method];
  const chunks = [];
  for await (const chunk of incoming) chunks.push(chunk);
  const body = chunks.length > 0 ? Buffer.concat(chunks) : undefined;
  try {
    const response = handler
      ? await handler(new Request(url, { method: incoming.method, headers: incoming.headers, body }))
      : new Response(null, { status: 404 });
    outgoing.writeHead(response.status, [
      ...[...response.headers].filter(([name]) => name !== "set-cookie").flat(),
      ...response.headers.getSetCookie().flatMap((cookie) => ["set-cookie", cookie]),
    ]);
    outgoing.end(Buffer.from(await response.arrayBuffer()));
  } catch (error) {
    console.error(error);
    outgoing.writeHead(500).end();
  }
});
server.listen(Number(process.env.PORT), "127.0.0.1", () => console.log("ready"));
