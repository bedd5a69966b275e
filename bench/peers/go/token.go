package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"
)

const clockSkew = 30 * time.Second

var (
	errMissing = errors.New("Missing authentication")
	errInvalid = errors.New("Invalid token")
	errExpired = errors.New("Token expired")
)

type header struct {
	Algorithm string `json:"alg"`
}

type claims struct {
	Subject   string `json:"sub"`
	ExpiresAt int64  `json:"exp"`
	IssuedAt  int64  `json:"iat"`
	NotBefore int64  `json:"nbf"`
}

func decode(segment string, into interface{}) error {
	raw, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// userOf verifies the bearer token of a request.
func userOf(r *http.Request, secret []byte) (string, error) {
	given := r.Header.Get("Authorization")
	if given == "" {
		return "", errMissing
	}
	scheme, token, _ := strings.Cut(given, " ")
	segments := strings.Split(token, ".")
	if !strings.EqualFold(scheme, "Bearer") || len(segments) != 3 {
		return "", errInvalid
	}
	var head header
	if err := decode(segments[0], &head); err != nil || head.Algorithm != "HS256" {
		return "", errInvalid
	}
	signature, err := base64.RawURLEncoding.DecodeString(segments[2])
	if err != nil {
		return "", errInvalid
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(token[:len(segments[0])+1+len(segments[1])]))
	if !hmac.Equal(mac.Sum(nil), signature) {
		return "", errInvalid
	}
	var said claims
	if err := decode(segments[1], &said); err != nil || said.Subject == "" {
		return "", errInvalid
	}
	latest := time.Now().Add(clockSkew).Unix()
	if said.IssuedAt > latest || said.NotBefore > latest {
		return "", errInvalid
	}
	if said.ExpiresAt <= time.Now().Unix() {
		return "", errExpired
	}
	return said.Subject, nil
}

func (api *api) authenticated(handle func(http.ResponseWriter, *http.Request, string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user, err := userOf(r, api.secret)
		if err != nil {
			w.Header().Set("WWW-Authenticate", "Bearer")
			refuse(w, http.StatusUnauthorized, err.Error())
			return
		}
		handle(w, r, user)
	}
}
