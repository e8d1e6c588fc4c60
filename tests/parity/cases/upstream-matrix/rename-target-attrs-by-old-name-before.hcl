target "t" { dockerfile = target.old.dockerfile }
target "old" {
  name       = "new"
  matrix     = {}
  dockerfile = "D"
}
