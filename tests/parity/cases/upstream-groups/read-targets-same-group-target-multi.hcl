group "g" {
  targets = ["g", "app"]
}
target "g" {
  dockerfile = "G"
}
target "app" {
  output = ["type=docker"]
}
