-- SPDX-License-Identifier: Apache-2.0
-- An S3-shaped object store inside nginx: for measuring S3 clients.
--
-- Objects are files served by nginx itself (sendfile, ranges, 304); this module
-- keeps the index (lua_shared_dict s3_objects) with the headers S3 keeps and the
-- MD5 ETag, and does PUT, DELETE, DeleteObjects, CopyObject, listing V1 and V2
-- and the conditions If-None-Match and If-Match. Signatures are not looked at.
-- Not done: multipart upload, ACLs, versions (501 NotImplemented).
--
-- On disk, below the root given to init():
--   objects/ID   the bytes of one version of one object
--   journal      one line per change, replayed at start
--
-- /_lab shows the settings and the counts of requests as "name value" lines;
-- /_lab?name=value changes a setting, /_lab?reset=1 zeroes the counts. Settings:
--   latency_ms   each request waits so long before it is answered (a PUT: once
--                its body has come)
--   jitter_ms    plus a random wait of up to so long
--   rate_kib     each answer's body goes out at so many KiB/s; 0: no limit
--   error_pct    so many of 100 requests are answered 503 SlowDown, undone
--   drop_pct     so many of 100 requests get the connection closed, undone
--   lost_pct     so many of 100 PUTs and DELETEs are done, then the connection
--                is closed without an answer

local ffi = require "ffi"
local table_clear = require "table.clear"

local S3 = {}

local objects, state = ngx.shared.s3_objects, ngx.shared.s3_state
local SETTINGS = { latency_ms = 0, jitter_ms = 0, rate_kib = 0, error_pct = 0, drop_pct = 0, lost_pct = 0 }
local KEPT = { ["content-type"] = true, ["content-encoding"] = true, ["cache-control"] = true,
               ["content-disposition"] = true, ["content-language"] = true, ["expires"] = true,
               ["x-amz-storage-class"] = true, ["x-amz-server-side-encryption"] = true }
local LINGER = 2       -- seconds for which an overwritten version's file stays for readers under way
local root, journal, verify, fake_etag

ffi.cdef "unsigned char *SHA256(const unsigned char *d, size_t n, unsigned char *md);"

-- Small helpers ---------------------------------------------------------------

local function hex(s)
    return (s:gsub(".", function(c) return string.format("%02x", c:byte()) end))
end

local function unescape(s)     -- of a path or of one query part
    return (s:gsub("%%(%x%x)", function(h) return string.char(tonumber(h, 16)) end))
end

local function escape(s)
    return (s:gsub("[^%w%-%._~/]", function(c) return string.format("%%%02X", c:byte()) end))
end

local XML = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }
local function xml(s)
    return (s:gsub('[&<>"%c]', function(c) return XML[c] or string.format("&#x%X;", c:byte()) end))
end

local UNXML = { amp = "&", lt = "<", gt = ">", quot = '"', apos = "'" }
local function unxml(s)
    s = s:gsub("&#x(%x+);", function(h) return string.char(tonumber(h, 16) % 256) end)
    s = s:gsub("&#(%d+);", function(d) return string.char(tonumber(d) % 256) end)
    return (s:gsub("&(%a+);", UNXML))
end

local function iso(t)
    return os.date("!%Y-%m-%dT%H:%M:%S", t) .. string.format(".%03dZ", t * 1000 % 1000)
end

local function setting(name)
    return state:get("set:" .. name) or SETTINGS[name]
end

local function chance(name)
    local pct = setting(name)
    return pct > 0 and math.random() * 100 < pct
end

-- Answers -----------------------------------------------------------------------

local function answer(status, body, content_type)
    state:incr("status:" .. status, 1, 0)
    ngx.status = status
    if body and body ~= "" then
        ngx.header["Content-Type"] = content_type or "application/xml"
        ngx.header["Content-Length"] = #body
        ngx.print(body)
    elseif status ~= 204 then
        ngx.header["Content-Length"] = 0
    end
    return ngx.exit(ngx.HTTP_OK)
end

local function fail(status, code, message)
    return answer(status, '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>' .. code .. "</Code><Message>" ..
                  xml(message or code) .. "</Message><RequestId>" .. ngx.var.request_id .. "</RequestId></Error>")
end

local function answer_xml(root_name, inner)
    return answer(200, '<?xml version="1.0" encoding="UTF-8"?>\n<' .. root_name ..
                  ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/">' .. inner .. "</" .. root_name .. ">")
end

-- The index -----------------------------------------------------------------------
-- Value of an object: "ID SIZE ETAG MTIME\n" and a line "name: value" per header.

local function record(name)
    local v = objects:get(name)
    if not v then return nil end
    local id, size, etag, mtime, headers = v:match("^(%d+) (%d+) (%x+) ([%d.]+)\n(.*)$")
    return { id = id, size = tonumber(size), etag = etag, mtime = tonumber(mtime), headers = headers, value = v }
end

local function file_of(id)
    return root .. "/objects/" .. id
end

local function log(...)
    journal:write(table.concat({ ... }, " ") .. "\n")
    journal:flush()
end

local doomed = {}              -- versions to unlink: { when, id }, oldest first
local function unlink_later(id)
    doomed[#doomed + 1] = { ngx.now() + LINGER, id }
end

local function unlink_due()
    local now, n = ngx.now(), 0
    while doomed[n + 1] and doomed[n + 1][1] <= now do
        n = n + 1
        os.remove(file_of(doomed[n][2]))
    end
    if n == #doomed then
        table_clear(doomed)
    elseif n > 0 then
        local rest = {}
        for i = n + 1, #doomed do rest[#rest + 1] = doomed[i] end
        doomed = rest
    end
end

local function changed(name)   -- the set of keys changed: sorted listings are stale
    state:incr("gen:" .. name:match("^[^/]+"), 1, 0)
end

-- Several workers: changes of one object are made one after the other.
local function lock(name)
    if ngx.worker.count() == 1 then return end
    while not state:add("lock:" .. name, 1, 10) do ngx.sleep(0.001) end
end

local function unlock(name)
    if ngx.worker.count() > 1 then state:delete("lock:" .. name) end
end

local function store(name, body, headers)
    local id = tostring(state:incr("seq", 1, 0))
    local f, err = io.open(file_of(id), "wb")
    if f and #body > 0 then
        local ok
        ok, err = f:write(body)
        f:close()
        f = ok
    elseif f then
        f:close()
    end
    if not f then
        os.remove(file_of(id))
        return nil, err
    end
    local etag = ngx.md5(fake_etag and id .. name or body)
    local value = string.format("%s %d %s %.3f\n%s", id, #body, etag, ngx.now(), headers)
    local old = objects:get(name)
    local ok, why = objects:safe_set(name, value)
    if not ok then
        os.remove(file_of(id))
        return nil, why
    end
    log("P", escape(name), escape(value))
    if old then unlink_later(old:match("^%d+")) else changed(name) end
    return etag
end

local function remove(name)
    local old = objects:get(name)
    if not old then return end
    objects:delete(name)
    log("D", escape(name))
    unlink_later(old:match("^%d+"))
    changed(name)
end

local function bucket_exists(bucket)
    return state:get("bucket:" .. bucket) ~= nil
end

-- Sorted keys of a bucket, remade after keys came or went.
local sorted = {}
local function keys_of(bucket)
    local gen, have = state:get("gen:" .. bucket) or 0, sorted[bucket]
    if have and have.gen == gen then return have.keys end
    local keys, prefix = {}, bucket .. "/"
    for _, name in ipairs(objects:get_keys(0)) do
        if name:sub(1, #prefix) == prefix then keys[#keys + 1] = name:sub(#prefix + 1) end
    end
    table.sort(keys)
    sorted[bucket] = { gen = gen, keys = keys }
    return keys
end

local function lower_bound(keys, key)   -- index of the first key >= key
    local lo, hi = 1, #keys + 1
    while lo < hi do
        local mid = math.floor((lo + hi) / 2)
        if keys[mid] < key then lo = mid + 1 else hi = mid end
    end
    return lo
end

-- Buckets ---------------------------------------------------------------------------

local function list(bucket, q)
    local v2 = q["list-type"] == "2"
    local prefix, delimiter = q.prefix or "", q.delimiter or ""
    local max = math.min(tonumber(q["max-keys"]) or 1000, 1000)
    local after = (v2 and (q["continuation-token"] and ngx.decode_base64(q["continuation-token"]) or q["start-after"]))
                  or (not v2 and q.marker) or ""
    local enc = q["encoding-type"] == "url" and escape or xml
    local keys = keys_of(bucket)
    local out, common, count, last = {}, {}, 0, nil
    local i = lower_bound(keys, after > prefix and after or prefix)
    local truncated = false
    while keys[i] and keys[i]:sub(1, #prefix) == prefix do
        local key, group = keys[i], nil
        if delimiter ~= "" then
            local a, b = key:find(delimiter, #prefix + 1, true)
            if a then group = key:sub(1, b) end
        end
        if group and (group == after or group == last) or key == after then
            i = i + 1
        elseif count >= max then
            truncated = max > 0
            break
        elseif group then
            common[#common + 1] = "<CommonPrefixes><Prefix>" .. enc(group) .. "</Prefix></CommonPrefixes>"
            count, last, i = count + 1, group, i + 1
        else
            local r = record(bucket .. "/" .. key)
            if r then
                out[#out + 1] = "<Contents><Key>" .. enc(key) .. "</Key><LastModified>" .. iso(r.mtime) ..
                    "</LastModified><ETag>&quot;" .. r.etag .. "&quot;</ETag><Size>" .. r.size ..
                    "</Size><StorageClass>STANDARD</StorageClass></Contents>"
                count, last = count + 1, key
            end
            i = i + 1
        end
    end
    local t = { "<Name>", bucket, "</Name><Prefix>", enc(prefix), "</Prefix><MaxKeys>", max, "</MaxKeys><IsTruncated>",
                tostring(truncated), "</IsTruncated>" }
    local function add(tag, value)
        t[#t + 1] = "<" .. tag .. ">" .. value .. "</" .. tag .. ">"
    end
    if delimiter ~= "" then add("Delimiter", enc(delimiter)) end
    if q["encoding-type"] then add("EncodingType", "url") end
    if v2 then
        add("KeyCount", count)
        if q["continuation-token"] then add("ContinuationToken", xml(q["continuation-token"])) end
        if q["start-after"] then add("StartAfter", enc(q["start-after"])) end
        if truncated then add("NextContinuationToken", ngx.encode_base64(last)) end
    else
        add("Marker", enc(q.marker or ""))
        if truncated and delimiter ~= "" then add("NextMarker", enc(last)) end
    end
    return answer_xml("ListBucketResult", table.concat(t) .. table.concat(out) .. table.concat(common))
end

local function delete_many(bucket, body)
    local quiet, out = body:find("<Quiet>true</Quiet>", 1, true), {}
    for key in body:gmatch("<Key>(.-)</Key>") do
        local name = bucket .. "/" .. unxml(key)
        lock(name)
        remove(name)
        unlock(name)
        if not quiet then out[#out + 1] = "<Deleted><Key>" .. key .. "</Key></Deleted>" end
    end
    return answer_xml("DeleteResult", table.concat(out))
end

local function bucket_request(method, bucket, q, body)
    if method == "PUT" and not next(q) then
        if bucket_exists(bucket) then return fail(409, "BucketAlreadyOwnedByYou") end
        state:set("bucket:" .. bucket, ngx.now())
        log("B", bucket)
        ngx.header["Location"] = "/" .. bucket
        return answer(200)
    end
    if not bucket_exists(bucket) then return fail(404, "NoSuchBucket") end
    if method == "HEAD" then return answer(200) end
    if method == "POST" and q.delete then return delete_many(bucket, body) end
    if method == "DELETE" and not next(q) then
        if #keys_of(bucket) > 0 then return fail(409, "BucketNotEmpty") end
        state:delete("bucket:" .. bucket)
        log("X", bucket)
        return answer(204)
    end
    if method == "GET" and q.location then return answer_xml("LocationConstraint", "") end
    if method == "GET" and q.versioning then return answer_xml("VersioningConfiguration", "") end
    if method == "GET" and not (q.acl or q.uploads or q.versions or q.policy or q.lifecycle) then
        return list(bucket, q)
    end
    return fail(501, "NotImplemented")
end

local function list_buckets()
    local out = {}
    for _, k in ipairs(state:get_keys(0)) do
        local b = k:match("^bucket:(.*)$")
        if b then
            out[#out + 1] = "<Bucket><Name>" .. b .. "</Name><CreationDate>" .. iso(state:get(k)) .. "</CreationDate></Bucket>"
        end
    end
    return answer_xml("ListAllMyBucketsResult", "<Owner><ID>lab</ID></Owner><Buckets>" .. table.concat(out) .. "</Buckets>")
end

-- Objects ------------------------------------------------------------------------------

local function unchunk(body)   -- a body of x-amz-content-sha256: STREAMING-...
    local parts, pos = {}, 1
    while true do
        local a, b, size = body:find("^(%x+)[^\r]*\r\n", pos)
        if not a then return nil end
        size = tonumber(size, 16)
        if size == 0 then return table.concat(parts) end
        parts[#parts + 1] = body:sub(b + 1, b + size)
        pos = b + size + 3
    end
end

-- Whether an If-Match or If-None-Match list names the etag.
local function matches(list_of, etag)
    if list_of == "*" then return true end
    for one in list_of:gmatch("[^,%s]+") do
        if one:gsub('^W/', ""):gsub('"', "") == etag then return true end
    end
    return false
end

local function kept_headers(h)
    local out = {}
    for name, value in pairs(h) do
        if KEPT[name] or name:sub(1, 11) == "x-amz-meta-" then
            if type(value) == "table" then value = table.concat(value, ",") end
            if name == "content-encoding" then
                value = value:gsub("^aws%-chunked,?%s*", ""):gsub(",%s*aws%-chunked", "")
            end
            if value ~= "" then out[#out + 1] = name .. ": " .. value .. "\n" end
        end
    end
    return table.concat(out)
end

local function put_object(name, h, q, body)
    if q.uploadId or q.acl or q.tagging then return fail(501, "NotImplemented") end
    local headers
    if h["x-amz-copy-source"] then
        local from = record((unescape(h["x-amz-copy-source"]):gsub("^/", "")))
        local f = from and io.open(file_of(from.id), "rb")
        if not f then return fail(404, "NoSuchKey") end
        body = f:read("*a")
        f:close()
        headers = h["x-amz-metadata-directive"] == "REPLACE" and kept_headers(h) or from.headers
    else
        if not h["content-length"] then return fail(411, "MissingContentLength") end
        local sha = h["x-amz-content-sha256"] or ""
        if sha:sub(1, 10) == "STREAMING-" then
            body = unchunk(body)
            if not body or #body ~= tonumber(h["x-amz-decoded-content-length"]) then return fail(400, "IncompleteBody") end
        elseif verify and #sha == 64 then
            local md = ffi.new("unsigned char[32]")
            ffi.C.SHA256(body, #body, md)
            if hex(ffi.string(md, 32)) ~= sha then return fail(400, "XAmzContentSHA256Mismatch") end
        end
        if h["content-md5"] and h["content-md5"] ~= ngx.encode_base64(ngx.md5_bin(body)) then
            return fail(400, "BadDigest")
        end
        headers = kept_headers(h)
    end
    lock(name)
    -- From here to unlock nothing yields, so that conditions hold.
    local none, match = h["if-none-match"], h["if-match"]
    if none or match then
        ngx.req.clear_header("If-None-Match")   -- nginx would hold the answer's ETag against them
        ngx.req.clear_header("If-Match")
        local r = record(name)
        if match and not r then
            unlock(name)
            return fail(404, "NoSuchKey")
        end
        if (match and not matches(match, r.etag)) or (none and r and matches(none, r.etag)) then
            unlock(name)
            return fail(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
        end
    end
    local etag, err = store(name, body, headers)
    unlock(name)
    if not etag then
        ngx.log(ngx.ERR, "cannot store: ", err)
        return fail(507, "InsufficientStorage", err)
    end
    if chance("lost_pct") then return ngx.exit(444) end
    if h["x-amz-copy-source"] then
        return answer_xml("CopyObjectResult", "<LastModified>" .. iso(ngx.now()) ..
                          "</LastModified><ETag>&quot;" .. etag .. "&quot;</ETag>")
    end
    ngx.header["ETag"] = '"' .. etag .. '"'
    return answer(200)
end

local function delete_object(name, h)
    lock(name)
    local r = record(name)
    if r and h["if-match"] and not matches(h["if-match"], r.etag) then
        unlock(name)
        return fail(412, "PreconditionFailed")
    end
    remove(name)
    unlock(name)
    if chance("lost_pct") then return ngx.exit(444) end
    return answer(204)
end

-- Sets the headers and lets nginx's own file serving do the rest: the answer to
-- GET and HEAD, ranges, If-None-Match.
local function serve_object(name, h)
    local r = record(name)
    if not r then return fail(404, "NoSuchKey") end
    if h["if-match"] and not matches(h["if-match"], r.etag) then return fail(412, "PreconditionFailed") end
    local none = h["if-none-match"]
    if none and not none:find('"', 1, true) then ngx.req.set_header("If-None-Match", '"' .. none .. '"') end
    ngx.header["ETag"] = '"' .. r.etag .. '"'
    ngx.header["Content-Type"] = "binary/octet-stream"
    for k, v in r.headers:gmatch("([^:\n]+): ([^\n]*)\n") do ngx.header[k] = v end
    local rate = setting("rate_kib")
    if rate > 0 then ngx.var.limit_rate = rate * 1024 end
    state:incr("status:file", 1, 0)
    ngx.req.set_uri("/objects/" .. r.id, false)
end

-- Requests -----------------------------------------------------------------------------

local function lab_request(q)
    for name, value in pairs(q) do
        if name == "reset" then
            for _, k in ipairs(state:get_keys(0)) do
                if k:find("^method:") or k:find("^status:") then state:delete(k) end
            end
        elseif SETTINGS[name] and tonumber(value) then
            state:set("set:" .. name, tonumber(value))
        else
            return answer(400, "no such setting: " .. name .. "\n", "text/plain")
        end
    end
    local out = {}
    for name in pairs(SETTINGS) do out[#out + 1] = name .. " " .. setting(name) end
    for _, k in ipairs(state:get_keys(0)) do
        if k:find("^method:") or k:find("^status:") then out[#out + 1] = k:gsub(":", " ") .. " " .. state:get(k) end
    end
    table.sort(out)
    ngx.status = 200
    ngx.header["Content-Type"] = "text/plain"
    ngx.print(table.concat(out, "\n"), "\n")
    return ngx.exit(ngx.HTTP_OK)
end

local function parse_query(s)
    local q = {}
    for part in s:gmatch("[^&]+") do
        local k, v = part:match("^([^=]*)=?(.*)$")
        k = unescape(k)
        if not k:find("^X%-Amz%-") and k ~= "AWSAccessKeyId" and k ~= "Signature" and k ~= "Expires" and k ~= "x-id" then
            q[k] = unescape((v:gsub("+", " ")))
        end
    end
    return q
end

local function read_body()
    ngx.req.read_body()
    local body = ngx.req.get_body_data()
    if body then return body end
    local name = ngx.req.get_body_file()
    if not name then return "" end
    local f = assert(io.open(name, "rb"))
    body = f:read("*a")
    f:close()
    return body
end

function S3.handle()
    local method = ngx.req.get_method()
    local path, args = ngx.var.request_uri:match("^([^?]*)%??(.*)$")
    local q = parse_query(args)
    if path == "/_lab" then return lab_request(q) end
    ngx.header["x-amz-request-id"] = ngx.var.request_id
    state:incr("method:" .. method, 1, 0)
    local h = ngx.req.get_headers(0)
    local body = (method == "PUT" or method == "POST") and read_body() or ""

    local wait = setting("latency_ms") + setting("jitter_ms") * math.random()
    if wait > 0 then ngx.sleep(wait / 1000) end
    if chance("drop_pct") then return ngx.exit(444) end
    if chance("error_pct") then return fail(503, "SlowDown", "Please reduce your request rate.") end

    local bucket, key = (h.host or ""):match("^([%w.-]+)%.localhost"), path:sub(2)
    if not bucket then bucket, key = key:match("^([^/]*)/?(.*)$") end
    bucket, key = unescape(bucket), unescape(key)
    if bucket == "" then return method == "GET" and list_buckets() or fail(405, "MethodNotAllowed") end
    if key == "" then return bucket_request(method, bucket, q, body) end
    if not bucket_exists(bucket) then return fail(404, "NoSuchBucket") end
    if #key > 1024 then return fail(400, "KeyTooLongError") end
    local name = bucket .. "/" .. key
    if method == "PUT" then return put_object(name, h, q, body) end
    if method == "DELETE" then return delete_object(name, h) end
    if (method == "GET" or method == "HEAD") and not (q.acl or q.tagging or q.uploadId) then
        return serve_object(name, h)
    end
    return fail(501, "NotImplemented")
end

-- Start -----------------------------------------------------------------------------------

local function replay(path)
    local f = io.open(path, "r")
    if not f then return end
    local seq = 0
    for line in f:lines() do
        local what, name, value = line:match("^(%u) (%S+) ?(%S*)$")
        name, value = unescape(name or ""), unescape(value or "")
        local old = (what == "P" or what == "D") and objects:get(name)
        if what == "P" and value:find("^%d+ %d+ %x+ [%d.]+\n") then
            objects:safe_set(name, value)
            seq = math.max(seq, tonumber(value:match("^%d+")))
        elseif what == "D" then
            objects:delete(name)
        elseif what == "B" then
            state:set("bucket:" .. name, ngx.now())
        elseif what == "X" then
            state:delete("bucket:" .. name)
        end
        if old then os.remove(file_of(old:match("^%d+"))) end
    end
    f:close()
    state:set("seq", seq)
    -- Write it anew without what has been overwritten.
    local out = assert(io.open(path .. ".new", "w"))
    for _, k in ipairs(state:get_keys(0)) do
        local b = k:match("^bucket:(.*)$")
        if b then out:write("B ", escape(b), "\n") end
    end
    for _, name in ipairs(objects:get_keys(0)) do
        out:write("P ", escape(name), " ", escape(objects:get(name)), "\n")
    end
    assert(out:close())
    assert(os.rename(path .. ".new", path))
end

-- In init_by_lua. options: root; verify: check x-amz-content-sha256; fake_etag: an
-- ETag which is not the MD5, as with SSE-KMS on S3; and any setting.
function S3.init(options)
    root, verify, fake_etag = options.root, options.verify, options.fake_etag
    for name in pairs(SETTINGS) do SETTINGS[name] = options[name] or SETTINGS[name] end
    if not state:get("ready") then      -- not at a reload, when the index is there
        replay(root .. "/journal")
        state:set("ready", true)
    end
end

-- In init_worker_by_lua.
function S3.init_worker()
    math.randomseed(ngx.worker.pid() + ngx.now() * 1000)
    journal = assert(io.open(root .. "/journal", "a"))
    journal:setvbuf("full", 65536)      -- one write per line, at the flush
    assert(ngx.timer.every(0.5, unlink_due))
end

return S3
