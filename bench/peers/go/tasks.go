package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
)

type api struct {
	pool   *pgxpool.Pool
	secret []byte
}

type task struct {
	ID          string     `json:"id"`
	UserID      string     `json:"user_id"`
	Title       string     `json:"title"`
	Description *string    `json:"description"`
	Status      string     `json:"status"`
	Completed   bool       `json:"completed"`
	Priority    string     `json:"priority"`
	DueDate     *time.Time `json:"due_date"`
	CreatedAt   time.Time  `json:"created_at"`
	UpdatedAt   time.Time  `json:"updated_at"`
	CompletedAt *time.Time `json:"completed_at"`
	ETag        string     `json:"etag"`
}

const columns = `tasks.id::text, tasks.user_id, title, description, status, priority, due_date,
	tasks.created_at, tasks.updated_at, completed_at, tasks.revision`

func utc(moment *time.Time) *time.Time {
	if moment == nil {
		return nil
	}
	in := moment.UTC()
	return &in
}

// scan reads a row of `columns`, the epoch, and whatever else the statement selects.
func scan(row pgx.Row, more ...interface{}) (*task, error) {
	var found task
	var revision int64
	var epoch string
	into := []interface{}{&found.ID, &found.UserID, &found.Title, &found.Description, &found.Status, &found.Priority,
		&found.DueDate, &found.CreatedAt, &found.UpdatedAt, &found.CompletedAt, &revision, &epoch}
	if err := row.Scan(append(into, more...)...); err != nil {
		return nil, err
	}
	found.Completed = found.Status == "completed"
	found.DueDate, found.CompletedAt = utc(found.DueDate), utc(found.CompletedAt)
	found.CreatedAt, found.UpdatedAt = found.CreatedAt.UTC(), found.UpdatedAt.UTC()
	found.ETag = tag(revision, epoch)
	return &found, nil
}

func tag(revision int64, epoch string) string {
	return `"` + strconv.FormatInt(revision, 10) + "-" + epoch + `"`
}

// ---- answers

func answer(w http.ResponseWriter, status int, content interface{}) {
	body, err := json.Marshal(content)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}

func refuse(w http.ResponseWriter, status int, detail string) {
	answer(w, status, map[string]interface{}{"status": status, "detail": detail})
}

func fail(w http.ResponseWriter, err error) {
	refuse(w, http.StatusInternalServerError, err.Error())
}

func (api *api) missing(w http.ResponseWriter, r *http.Request, id string) {
	var one int
	err := api.pool.QueryRow(r.Context(), "SELECT 1 FROM tasks WHERE id = $1 AND deleted_at IS NULL", id).Scan(&one)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		refuse(w, http.StatusNotFound, "Task not found")
	case err != nil:
		fail(w, err)
	default:
		refuse(w, http.StatusForbidden, "Not your task")
	}
}

func (api *api) one(w http.ResponseWriter, r *http.Request, id string, row pgx.Row) {
	found, err := scan(row)
	if errors.Is(err, pgx.ErrNoRows) {
		api.missing(w, r, id)
	} else if err != nil {
		fail(w, err)
	} else {
		w.Header().Set("ETag", found.ETag)
		answer(w, http.StatusOK, found)
	}
}

// ---- input

type fields struct {
	Title       *string             `json:"title"`
	Description nullable[string]    `json:"description"`
	Status      *string             `json:"status"`
	Priority    *string             `json:"priority"`
	DueDate     nullable[time.Time] `json:"due_date"`
}

// nullable tells a null from a field that is not there.
type nullable[T any] struct {
	given bool
	value *T
}

func (field *nullable[T]) UnmarshalJSON(raw []byte) error {
	field.given = true
	return json.Unmarshal(raw, &field.value)
}

func read(r *http.Request) (*fields, error) {
	var wanted fields
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&wanted); err != nil {
		return nil, err
	}
	if wanted.Title != nil {
		*wanted.Title = strings.TrimSpace(*wanted.Title)
		if length := utf8.RuneCountInString(*wanted.Title); length < 1 || length > 200 {
			return nil, errors.New("title: 1 to 200 characters")
		}
	}
	if text := wanted.Description.value; text != nil && utf8.RuneCountInString(*text) > 1000 {
		return nil, errors.New("description: at most 1000 characters")
	}
	if wanted.Status != nil && !isOneOf(*wanted.Status, statuses) {
		return nil, errors.New("status: unknown")
	}
	if wanted.Priority != nil && !isOneOf(*wanted.Priority, priorities) {
		return nil, errors.New("priority: unknown")
	}
	return &wanted, nil
}

var (
	statuses   = []string{"pending", "in_progress", "completed"}
	priorities = []string{"low", "medium", "high"}
	sorts      = map[string]string{
		"created": "created_at", "updated": "updated_at", "title": `title COLLATE "C"`, "due": "due_date",
	}
)

func isOneOf(word string, allowed []string) bool {
	for _, one := range allowed {
		if word == one {
			return true
		}
	}
	return false
}

func isUUID(text string) bool {
	if len(text) != 36 {
		return false
	}
	for position, digit := range text {
		if position == 8 || position == 13 || position == 18 || position == 23 {
			if digit != '-' {
				return false
			}
		} else if !strings.ContainsRune("0123456789abcdefABCDEF", digit) {
			return false
		}
	}
	return true
}

// ---- operations

func (api *api) ready(w http.ResponseWriter, r *http.Request) {
	if _, err := api.pool.Exec(r.Context(), "SELECT 1"); err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, map[string]string{"status": "ready"})
}

func (api *api) list(w http.ResponseWriter, r *http.Request, user string) {
	statement := "SELECT " + columns + `, (SELECT epoch FROM users WHERE id = $1),
		(SELECT revision FROM users WHERE id = $1) FROM tasks WHERE user_id = $1 AND deleted_at IS NULL`
	args := []interface{}{user}
	query := r.URL.Query()
	for name, allowed := range map[string][]string{"status": statuses, "priority": priorities} {
		chosen := query[name]
		for _, word := range chosen {
			if !isOneOf(word, allowed) {
				refuse(w, http.StatusUnprocessableEntity, name+": unknown")
				return
			}
		}
		if chosen != nil {
			args = append(args, chosen)
			statement += fmt.Sprintf(" AND %s = ANY($%d)", name, len(args))
		}
	}
	sort, direction, nulls, limit := query.Get("sort"), "ASC", "LAST", 1000
	if strings.HasPrefix(sort, "-") {
		sort, direction, nulls = sort[1:], "DESC", "FIRST"
	}
	if sort == "" {
		sort = "created"
	}
	column, known := sorts[sort]
	if text := query.Get("limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil {
			limit = 0
		}
	}
	if !known || limit < 1 || limit > 1000 {
		refuse(w, http.StatusUnprocessableEntity, "sort or limit")
		return
	}
	args = append(args, limit)
	statement += fmt.Sprintf(" ORDER BY %s %s NULLS %s, id %s LIMIT $%d", column, direction, nulls, direction, len(args))
	rows, err := api.pool.Query(r.Context(), statement, args...)
	if err != nil {
		fail(w, err)
		return
	}
	defer rows.Close()
	tasks := make([]*task, 0, limit)
	var counter int64
	for rows.Next() {
		found, err := scan(rows, &counter)
		if err != nil {
			fail(w, err)
			return
		}
		tasks = append(tasks, found)
	}
	if err := rows.Err(); err != nil {
		fail(w, err)
		return
	}
	if len(tasks) > 0 {
		_, epoch, _ := strings.Cut(strings.Trim(tasks[0].ETag, `"`), "-")
		w.Header().Set("ETag", tag(counter, epoch))
	}
	answer(w, http.StatusOK, tasks)
}

func (api *api) get(w http.ResponseWriter, r *http.Request, user, id string) {
	api.one(w, r, id, api.pool.QueryRow(r.Context(), "SELECT "+columns+`, (SELECT epoch FROM users WHERE id = $1)
		FROM tasks WHERE user_id = $1 AND id = $2 AND deleted_at IS NULL`, user, id))
}

func (api *api) create(w http.ResponseWriter, r *http.Request, user string) {
	wanted, err := read(r)
	if err == nil && wanted.Title == nil {
		err = errors.New("title: is missing")
	}
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	status, priority := "pending", "medium"
	if wanted.Status != nil {
		status = *wanted.Status
	}
	if wanted.Priority != nil {
		priority = *wanted.Priority
	}
	made, err := scan(api.pool.QueryRow(r.Context(), `
		WITH counter AS (
			INSERT INTO users (id, revision) VALUES ($1, 1)
			ON CONFLICT (id) DO UPDATE SET revision = users.revision + 1 RETURNING revision, epoch
		)
		INSERT INTO tasks (user_id, id, title, description, status, priority, due_date, completed_at, revision)
		SELECT $1, uuidv7(), $2, $3, $4, $5, $6, CASE WHEN $4 = 'completed' THEN now() END, counter.revision FROM counter
		RETURNING `+columns+`, (SELECT epoch FROM counter)`,
		user, *wanted.Title, wanted.Description.value, status, priority, wanted.DueDate.value))
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("ETag", made.ETag)
	w.Header().Set("Location", "/api/tasks/"+made.ID)
	answer(w, http.StatusCreated, made)
}

// change runs an UPDATE whose arguments begin with the user and the task.
func (api *api) change(r *http.Request, user, id, changes string, args ...interface{}) pgx.Row {
	return api.pool.QueryRow(r.Context(), `
		WITH counter AS (UPDATE users SET revision = revision + 1 WHERE id = $1 RETURNING revision, epoch)
		UPDATE tasks SET `+changes+`, updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond'),
		                 revision = counter.revision
		FROM counter WHERE tasks.user_id = $1 AND tasks.id = $2 AND tasks.deleted_at IS NULL
		RETURNING `+columns+`, counter.epoch`, append([]interface{}{user, id}, args...)...)
}

func (api *api) update(w http.ResponseWriter, r *http.Request, user, id string) {
	wanted, err := read(r)
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	var changes []string
	var args []interface{}
	set := func(column string, value interface{}) {
		args = append(args, value)
		changes = append(changes, fmt.Sprintf("%s = $%d", column, len(args)+2))
	}
	if wanted.Title != nil {
		set("title", *wanted.Title)
	}
	if wanted.Description.given {
		set("description", wanted.Description.value)
	}
	if wanted.Priority != nil {
		set("priority", *wanted.Priority)
	}
	if wanted.DueDate.given {
		set("due_date", wanted.DueDate.value)
	}
	if wanted.Status != nil {
		set("status", *wanted.Status)
		changes = append(changes, fmt.Sprintf(
			"completed_at = CASE WHEN $%d = 'completed' THEN coalesce(completed_at, now()) END", len(args)+2))
	}
	if changes == nil {
		refuse(w, http.StatusUnprocessableEntity, "nothing to change")
		return
	}
	api.one(w, r, id, api.change(r, user, id, strings.Join(changes, ", "), args...))
}

func (api *api) toggle(w http.ResponseWriter, r *http.Request, user, id string) {
	api.one(w, r, id, api.change(r, user, id, `
		status = CASE status WHEN 'completed' THEN 'pending' ELSE 'completed' END,
		completed_at = CASE status WHEN 'completed' THEN NULL ELSE now() END`))
}

func (api *api) delete(w http.ResponseWriter, r *http.Request, user, id string) {
	_, err := scan(api.change(r, user, id, "deleted_at = now()"))
	if errors.Is(err, pgx.ErrNoRows) {
		api.missing(w, r, id)
	} else if err != nil {
		fail(w, err)
	} else {
		w.WriteHeader(http.StatusNoContent)
	}
}
