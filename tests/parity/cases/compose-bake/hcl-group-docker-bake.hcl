target "x" {}
group "default" { targets = ["x"] }
