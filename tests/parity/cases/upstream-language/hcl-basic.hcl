group "default" { targets = ["store", "front"] }
target "store" {
  context = "./store"
  tags    = ["example.com/store"]
  output  = ["type=image"]
}
target "front" {
  context    = "./front"
  dockerfile = "other.Dockerfile"
  args       = { number = "7" }
  output     = [{ type = "image" }]
}
target "both" { platforms = ["linux/amd64", "linux/arm64"] }
target "front-both" {
  inherits = ["front", "both"]
  args     = { BOTH = "true" }
}
