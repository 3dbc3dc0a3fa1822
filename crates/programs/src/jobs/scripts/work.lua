-- Tables that grow and shrink, strings, closures, coroutines; the collector in both of its modes.
local rounds = tonumber(arg[1])

local function work(seed)
  local state = seed
  local function next_number()
    state = (state * 1103515245 + 12345) % 2147483648
    return state >> 8
  end
  local words, count = {}, {}
  for index = 1, 60000 do
    local word = "w" .. next_number() % 9000 .. "-" .. string.rep("z", next_number() % 40)
    words[index] = word
    count[word] = (count[word] or 0) + 1
  end
  local order = {}
  for word in pairs(count) do order[#order + 1] = word end
  table.sort(order, function(a, b)
    if count[a] ~= count[b] then return count[a] > count[b] end
    return a < b
  end)
  local text = table.concat(words, " ")
  local changed, number = text:gsub("w(%d)(%d*)%-z+", "<%2:%1>")
  local tree = {}
  for index, word in ipairs(words) do
    local branch = tree[#word] or {}
    tree[#word] = branch
    branch[#branch + 1] = { word = word, at = index }
  end
  local deep = 0
  for length, branch in pairs(tree) do deep = deep + length * #branch end
  local producer = coroutine.wrap(function()
    for index = 1, 5000 do coroutine.yield(("x"):rep(index % 90)) end
  end)
  local produced = 0
  for _ = 1, 5000 do produced = produced + #producer() end
  return table.concat({ seed, #order, order[1], number, #changed, deep, produced }, ",")
end

for seed = 1, rounds do
  collectgarbage(seed % 2 == 0 and "incremental" or "generational")
  print(work(seed))
end
