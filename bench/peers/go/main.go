// The strong peer in Go: net/http and pgx, tokens checked with the standard library.
//
// It stands over the same table as the service and takes the next number of the user's change counter with each write.
package main

import (
	"context"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v4/pgxpool"
)

func connect(ctx context.Context) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		return nil, err
	}
	connections, err := strconv.Atoi(os.Getenv("TASKSERVICE_DATABASE_CONNECTIONS"))
	if err != nil {
		return nil, err
	}
	config.MaxConns, config.MinConns = int32(connections), int32(connections)
	return pgxpool.ConnectConfig(ctx, config)
}

func routes(api *api) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/health/ready", api.ready)
	mux.HandleFunc("/api/tasks", api.authenticated(func(w http.ResponseWriter, r *http.Request, user string) {
		switch r.Method {
		case http.MethodGet:
			api.list(w, r, user)
		case http.MethodPost:
			api.create(w, r, user)
		default:
			refuse(w, http.StatusMethodNotAllowed, "Method not allowed")
		}
	}))
	mux.HandleFunc("/api/tasks/", api.authenticated(func(w http.ResponseWriter, r *http.Request, user string) {
		id, action, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api/tasks/"), "/")
		if !isUUID(id) {
			refuse(w, http.StatusUnprocessableEntity, "task_id: must be a UUID")
			return
		}
		switch {
		case r.Method == http.MethodGet && action == "":
			api.get(w, r, user, id)
		case (r.Method == http.MethodPut || r.Method == http.MethodPatch) && action == "":
			api.update(w, r, user, id)
		case r.Method == http.MethodPatch && action == "complete":
			api.toggle(w, r, user, id)
		case r.Method == http.MethodDelete && action == "":
			api.delete(w, r, user, id)
		default:
			refuse(w, http.StatusNotFound, "Not found")
		}
	}))
	return mux
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	pool, err := connect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	api := &api{pool: pool, secret: []byte(os.Getenv("BETTER_AUTH_SECRET"))}
	server := &http.Server{Addr: os.Args[1] + ":" + os.Args[2], Handler: routes(api)}
	go func() {
		<-ctx.Done()
		server.Shutdown(context.Background())
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
}
