target "base" { resources = { memory = "1g" } }
target "a" {
  inherits  = ["base"]
  resources = { memory = "3g" }
}
target "b" { inherits = ["base"] }
