// The strong peer in JavaScript: Fastify with JSON schemas for bodies, queries and answers, postgres.js and fast-jwt.
//
// It stands over the same table as the service and takes the next number of the user's change counter with each write.

import { createVerifier } from "fast-jwt";
import Fastify from "fastify";
import postgres from "postgres";

const STATUSES = ["pending", "in_progress", "completed"];
const PRIORITIES = ["low", "medium", "high"];
const SORTS = {
  created: "created_at",
  updated: "updated_at",
  title: 'title COLLATE "C"',
  due: "due_date",
};
const CLOCK_SKEW_MS = 30_000;

// Instants stay text: a Date has milliseconds, the table microseconds.
const instant = (text) => `${text.slice(0, 10)}T${text.slice(11, -3)}Z`;

const sql = postgres(process.env.DATABASE_URL, {
  max: Number(process.env.TASKSERVICE_DATABASE_CONNECTIONS),
  connection: { TimeZone: "UTC" },
  types: {
    date: { to: 1184, from: [1184], serialize: (value) => value, parse: instant },
  },
});

// ---- schemas

const nullable = (schema) => ({ ...schema, nullable: true });
const text = { type: "string" };
const moment = { type: "string", format: "date-time" };

const fields = {
  title: { type: "string", maxLength: 200, pattern: "\\S" },
  description: nullable({ type: "string", maxLength: 1000 }),
  status: { type: "string", enum: STATUSES },
  priority: { type: "string", enum: PRIORITIES },
  due_date: nullable(moment),
};
const newTask = { type: "object", additionalProperties: false, required: ["title"], properties: fields };
const taskChange = { type: "object", additionalProperties: false, minProperties: 1, properties: fields };
const oneOrMore = (allowed) => ({ type: "array", items: { type: "string", enum: allowed } });
const listQuery = {
  type: "object",
  additionalProperties: false,
  properties: {
    status: oneOrMore(STATUSES),
    priority: oneOrMore(PRIORITIES),
    sort: { type: "string", enum: Object.keys(SORTS).flatMap((name) => [name, `-${name}`]), default: "created" },
    limit: { type: "integer", minimum: 1, maximum: 1000, default: 1000 },
  },
};
const taskPath = { type: "object", properties: { id: { type: "string", format: "uuid" } } };
const task = {
  type: "object",
  properties: {
    id: text,
    user_id: text,
    title: text,
    description: nullable(text),
    status: text,
    completed: { type: "boolean" },
    priority: text,
    due_date: nullable(text),
    created_at: text,
    updated_at: text,
    completed_at: nullable(text),
    etag: text,
  },
};

// ---- rows

const columns = sql`
  tasks.id, tasks.user_id, title, description, status, status = 'completed' AS completed, priority, due_date,
  tasks.created_at, tasks.updated_at, completed_at, tasks.revision`;

function shown(row) {
  row.etag = `"${row.revision}-${row.epoch}"`;
  return row;
}

// ---- the application

// Unknown fields are refused: Fastify alone would drop them in silence.
const app = Fastify({ ajv: { customOptions: { removeAdditional: false } } });

const verify = createVerifier({
  key: process.env.BETTER_AUTH_SECRET,
  algorithms: ["HS256"],
  requiredClaims: ["exp", "sub"],
});

class Refusal extends Error {
  constructor(statusCode, message) {
    super(message);
    this.statusCode = statusCode;
  }
}

app.decorateRequest("user", "");

async function authenticate(request) {
  const given = request.headers.authorization;
  if (!given) throw new Refusal(401, "Missing authentication");
  const [scheme, token] = given.split(" ");
  if (scheme.toLowerCase() !== "bearer" || !token) throw new Refusal(401, "Invalid token");
  let claims;
  try {
    claims = verify(token);
  } catch (error) {
    throw new Refusal(401, error.code === "FAST_JWT_EXPIRED" ? "Token expired" : "Invalid token");
  }
  if (claims.iat * 1000 > Date.now() + CLOCK_SKEW_MS) throw new Refusal(401, "Invalid token");
  request.user = claims.sub;
}

async function missing(id) {
  const [foreign] = await sql`SELECT 1 FROM tasks WHERE id = ${id} AND deleted_at IS NULL`;
  return foreign ? new Refusal(403, "Not your task") : new Refusal(404, "Task not found");
}

async function one(reply, id, row) {
  if (row === undefined) throw await missing(id);
  const task = shown(row);
  reply.header("etag", task.etag);
  return task;
}

app.get("/health/ready", async () => {
  await sql`SELECT 1`;
  return { status: "ready" };
});

app.register(async (tasks) => {
  tasks.addHook("onRequest", authenticate);

  tasks.get(
    "/",
    { schema: { querystring: listQuery, response: { 200: { type: "array", items: task } } } },
    async (request, reply) => {
      const { user } = request;
      const { status, priority, sort, limit } = request.query;
      const descending = sort.startsWith("-");
      const column = sql.unsafe(SORTS[descending ? sort.slice(1) : sort]);
      const rows = await sql`
        SELECT ${columns}, (SELECT epoch FROM users WHERE id = ${user}) AS epoch,
               (SELECT revision FROM users WHERE id = ${user}) AS counter
        FROM tasks
        WHERE user_id = ${user} AND deleted_at IS NULL
              ${status ? sql`AND status = ANY(${status})` : sql``}
              ${priority ? sql`AND priority = ANY(${priority})` : sql``}
        ORDER BY ${column} ${descending ? sql`DESC NULLS FIRST, id DESC` : sql`ASC NULLS LAST, id`}
        LIMIT ${limit}`;
      reply.header("etag", rows.length ? `"${rows[0].counter}-${rows[0].epoch}"` : '"0-"');
      return rows.map(shown);
    },
  );

  tasks.post("/", { schema: { body: newTask, response: { 201: task } } }, async (request, reply) => {
    const { title, description = null, status = "pending", priority = "medium", due_date = null } = request.body;
    const [row] = await sql`
      WITH counter AS (
        INSERT INTO users (id, revision) VALUES (${request.user}, 1)
        ON CONFLICT (id) DO UPDATE SET revision = users.revision + 1 RETURNING revision, epoch
      )
      INSERT INTO tasks (user_id, id, title, description, status, priority, due_date, completed_at, revision)
      SELECT ${request.user}, uuidv7(), ${title.trim()}, ${description}, ${status}, ${priority}, ${due_date}::timestamptz,
             CASE WHEN ${status} = 'completed' THEN now() END, counter.revision
      FROM counter
      RETURNING ${columns}, (SELECT epoch FROM counter)`;
    reply.code(201).header("location", `/api/tasks/${row.id}`);
    return one(reply, row.id, row);
  });

  tasks.get("/:id", { schema: { params: taskPath, response: { 200: task } } }, async (request, reply) => {
    const { user, params } = request;
    const [row] = await sql`
      SELECT ${columns}, (SELECT epoch FROM users WHERE id = ${user}) AS epoch
      FROM tasks WHERE user_id = ${user} AND id = ${params.id} AND deleted_at IS NULL`;
    return one(reply, params.id, row);
  });

  // `update` is the beginning of the statement, with the first assignments.
  const change = (user, id, update) => sql`
    WITH counter AS (UPDATE users SET revision = revision + 1 WHERE id = ${user} RETURNING revision, epoch)
    ${update}, revision = counter.revision,
      updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond')
    FROM counter WHERE tasks.id = ${id} AND tasks.user_id = ${user} AND tasks.deleted_at IS NULL
    RETURNING ${columns}, counter.epoch`;

  const update = {
    schema: { params: taskPath, body: taskChange, response: { 200: task } },
    handler: async (request, reply) => {
      const { user, params, body } = request;
      const wanted = body.title === undefined ? body : { ...body, title: body.title.trim() };
      const completion =
        wanted.status === undefined
          ? sql``
          : sql`, completed_at = CASE WHEN ${wanted.status} = 'completed' THEN coalesce(completed_at, now()) END`;
      const [row] = await change(user, params.id, sql`UPDATE tasks SET ${sql(wanted)} ${completion}`);
      return one(reply, params.id, row);
    },
  };
  tasks.patch("/:id", update);
  tasks.put("/:id", update);

  const toggled = sql`
    UPDATE tasks SET status = CASE status WHEN 'completed' THEN 'pending' ELSE 'completed' END,
      completed_at = CASE status WHEN 'completed' THEN NULL ELSE now() END`;
  tasks.patch("/:id/complete", { schema: { params: taskPath, response: { 200: task } } }, async (request, reply) => {
    const [row] = await change(request.user, request.params.id, toggled);
    return one(reply, request.params.id, row);
  });

  tasks.delete("/:id", { schema: { params: taskPath } }, async (request, reply) => {
    const { user, params } = request;
    const [row] = await change(user, params.id, sql`UPDATE tasks SET deleted_at = now()`);
    if (row === undefined) throw await missing(params.id);
    reply.code(204);
  });
}, { prefix: "/api/tasks" });

const [host, port] = process.argv.slice(2);
await app.listen({ host, port: Number(port) });
process.on("SIGTERM", async () => {
  await app.close();
  await sql.end();
});
