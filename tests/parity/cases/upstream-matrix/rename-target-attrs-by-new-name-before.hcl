target "t" { dockerfile = target.new.dockerfile }
target "old" {
  name       = "new"
  matrix     = {}
  dockerfile = "D"
}
