-- Asks Latchkey about a request: the action "latchkey" of haproxy.cfg beside this file. HAProxy 2.6 or
-- later. It sets X-Latchkey headers for the application, or answers the client. Without an answer of
-- Latchkey, no request is passed on.

-- What requests need is named here, for example /verify/haproxy?scope=orders:read
local LATCHKEY = "http://127.0.0.1:8080/verify/haproxy"
local HOST = "api.example.com"
local TIMEOUT = 10000 -- milliseconds

-- All of them are in every answer that admits a request.
local IDENTITY = {
    "x-latchkey-key", "x-latchkey-account", "x-latchkey-external-id",
    "x-latchkey-mode", "x-latchkey-scopes", "x-latchkey-metadata",
}
-- Headers of the client that Latchkey receives, each with all of its values.
local ASKED = {
    "authorization", "x-api-key", "x-api-secret", "origin", "access-control-request-method",
}
-- Headers about the limits of a key, which haproxy.cfg sets in every answer to the client.
local LIMITS = {
    "ratelimit", "ratelimit-policy",
    "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset",
}
-- Headers of a refusal that the client sees.
local TOLD = { "content-type", "www-authenticate", "retry-after", "cache-control" }

local UNAVAILABLE = '{"error": {"type": "api_error", "code": "UNAVAILABLE", ' ..
    '"message": "API keys cannot be checked at the moment"}}'

local function answer(txn, status, headers, body)
    local reply = txn:reply()
    reply:set_status(status)
    for name, values in pairs(headers) do
        for _, value in pairs(values) do
            reply:add_header(name, value)
        end
    end
    reply:set_body(body)
    txn:done(reply)
end

local function fail(txn)
    answer(txn, 503, {
        ["content-type"] = { "application/json" }, ["cache-control"] = { "no-store" },
    }, UNAVAILABLE)
end

local function check(txn)
    local received = txn.http:req_get_headers()
    -- The original request: never what a client says about it.
    local headers = {
        ["x-original-method"] = { txn.f:method() },
        ["x-original-uri"] = { txn.f:pathq() },
        ["x-original-host"] = { HOST },
        ["x-forwarded-for"] = { txn.f:src() },
    }
    for _, name in ipairs(ASKED) do
        if received[name] then
            local values = {}
            -- HAProxy counts them from 0.
            for position = 0, #received[name] do
                values[position + 1] = received[name][position]
            end
            headers[name] = values
        end
    end

    local asked, response = pcall(function()
        return core.httpclient():get{ url = LATCHKEY, headers = headers, timeout = TIMEOUT }
    end)
    if not asked or not response or not response.status then
        return fail(txn)
    end
    for _, name in ipairs(LIMITS) do
        local value = response.headers and response.headers[name]
        if value then
            txn:set_var("txn.latchkey_" .. name:gsub("-", "_"), value[0])
        end
    end
    if response.status == 200 then
        for _, name in ipairs(IDENTITY) do
            -- An answer without them is not from Latchkey.
            if not response.headers[name] then
                return fail(txn)
            end
            txn.http:req_set_header(name, response.headers[name][0])
        end
        return
    end
    -- If HAProxy cannot reach Latchkey, it makes an answer itself, which is not JSON.
    local kind = response.headers and response.headers["content-type"]
    if response.status < 400 or not kind or kind[0] ~= "application/json" then
        return fail(txn)
    end
    local told = {}
    for _, name in ipairs(TOLD) do
        told[name] = response.headers[name]
    end
    answer(txn, response.status, told, response.body or "")
end

core.register_action("latchkey", { "http-req" }, check)
