target "old" {
  name       = "new"
  matrix     = {}
  dockerfile = "D"
}
target "t" { dockerfile = target.new.dockerfile }
