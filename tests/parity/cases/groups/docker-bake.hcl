group "default" { targets = ["app"] }
group "all" {
  description = "<everything>"
  targets     = ["web", "app", "nested", "web"]
}
group "nested" { targets = ["db", "app"] }
group "db" { targets = ["db", "web"] }
group "empty" { targets = [] }
group "nothing" { targets = null }
group "loop-a" { targets = ["loop-b"] }
group "loop-b" { targets = ["loop-a"] }
group "bad" { targets = ["app", "nope"] }
group "twice" { targets = ["app"] }
group "twice" { targets = ["web"] }
target "app" {}
target "web" { description = "the web" }
target "db" {}
target "_private" {}
target "web_app" {}
