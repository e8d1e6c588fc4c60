group "default" { targets = ["app"] }
group "release" { targets = ["app-release"] }
target "fresh" { no-cache = true }
target "app" {
  inherits = ["fresh"]
  output   = ["type=docker"]
}
target "app-release" {
  inherits = ["app"]
  output   = ["type=image,push=true"]
  tags     = ["example.com/app:latest"]
}
