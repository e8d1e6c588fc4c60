target "a" {
 dockerfile = target.b.context
 context = "ca"
}
target "b" {
 context = target.a.context
}
