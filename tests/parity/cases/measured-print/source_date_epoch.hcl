target "none" {}
target "null" { args = { SOURCE_DATE_EPOCH = null } }
target "blank" { args = { SOURCE_DATE_EPOCH = "" } }
target "own" { args = { SOURCE_DATE_EPOCH = "1" } }
target "linked" { contexts = { x = "target:none" } }
