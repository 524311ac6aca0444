-- Copyright (c) sparkops contributors
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- What HAProxy cannot tell by itself: how many tokens an answer has and when its first one came, for the log; and why the engine does
-- not serve. An answer is looked at while it passes, and neither held nor changed. Each thread of HAProxy runs this on its own.

local STATE = os.getenv("DGX_SPARK_STATE") or ""
local TAIL = 600 -- bytes at the end of an answer in which its usage is looked for

-- Seconds after which a client should ask again, by the supervisor's phase.
local RETRY_AFTER = {waiting = 15, starting = 15, serving = 5, failed = 15, stopped = 60}
local NEVER_BY_ITSELF = 300

local Meter = {id = "dgx-spark: tokens of an answer", flags = filter.FLT_CFG_FL_HTX}
Meter.__index = Meter

function Meter:new()
  return setmetatable({began = core.now(), events = 0, tail = ""}, self)
end

function Meter:start_analyze(txn, channel)
  if channel:is_resp() then
    filter.register_data_filter(self, channel)
  end
end

function Meter:http_payload(txn, message)
  if not message.channel:is_resp() then
    return
  end
  local data = message:body()
  if not data or #data == 0 then
    return
  end
  if not self.first then
    self.first = core.now()
    local seconds, micros = self.first.sec - self.began.sec, self.first.usec - self.began.usec
    txn:set_var("txn.ttft_ms", math.max(0, seconds * 1000 + micros // 1000))
  end
  local at = data:find("data: {", 1, true)
  while at do
    self.events = self.events + 1
    at = data:find("data: {", at + 7, true)
  end
  self.tail = (#data < TAIL and self.tail .. data or data):sub(-TAIL)
end

-- Also where the answer was cut: then it has as many tokens as came.
function Meter:end_analyze(txn, channel)
  if not channel:is_resp() or not self.first then
    return
  end
  local made = self.tail:match('"completion_tokens"%s*:%s*(%d+)')
  local asked = self.tail:match('"prompt_tokens"%s*:%s*(%d+)')
  txn:set_var("txn.events", self.events)
  if made then
    txn:set_var("txn.tokens", math.tointeger(tonumber(made)))
  end
  if asked then
    txn:set_var("txn.prompt_tokens", math.tointeger(tonumber(asked)))
  end
end

core.register_filter("dgx-spark-meter", Meter, function(one, arguments)
  return one
end)

-- The phase and the reason of the supervisor, as text of JSON without its quotes: what reads this puts quotes around it again.
local function supervisor()
  local file = STATE ~= "" and io.open(STATE, "r")
  if not file then
    return "not started", ""
  end
  local text = file:read(65536) or ""
  file:close()
  local phase = text:match('\n  "phase": "([%w ]+)"')
  local reason = text:match('\n  "reason": "([^\n]*)",?\n')
  return phase or "not started", reason or ""
end

core.register_fetches("engine_phase", function(txn)
  local phase = supervisor()
  return phase == "serving" and "The engine does not answer." or "The engine does not serve: " .. phase .. "."
end)

core.register_fetches("engine_reason", function(txn)
  local phase, reason = supervisor()
  if phase == "serving" then
    return "The engine does not answer."
  end
  return "The engine does not serve: " .. phase .. (reason ~= "" and ": " .. reason or ".")
end)

core.register_fetches("engine_retry_after", function(txn)
  return tostring(RETRY_AFTER[supervisor()] or NEVER_BY_ITSELF)
end)
