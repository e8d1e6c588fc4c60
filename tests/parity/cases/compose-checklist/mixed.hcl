group "default" { targets = ["image"] }
target "nocache" { no-cache = true }
target "image" {
  inherits = ["nocache"]
  output = ["type=docker"]
}
