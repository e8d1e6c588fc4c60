target "app" {
  secret    = ["id=A,env=A"]
  resources = { memory = "1g" }
}
target "app-2" {}
group "g" { targets = ["app"] }
