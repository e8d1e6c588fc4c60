target "default" {
  args = {
    v0 = jsonencode(formattimestamp("X", "2015-10-21T00:00:00Z"))
    v1 = jsonencode(formattimestamp("X", 1445385600))
    v2 = jsonencode(formattimestamp("YYYY-MM-DD", "2025-09-16T12:00:00Z"))
    v3 = jsonencode(formattimestamp("YYYY-MM-DD'T'hh:mm:ssZ", 1690328596))
    v4 = jsonencode(formattimestamp("YYYY-MM-DD'T'hh:mm:ssZ", -1))
    v5 = jsonencode(can(formattimestamp("YYYY", 1.2)))
    v6 = jsonencode(can(formattimestamp("YYYY", "0")))
    v7 = jsonencode(can(formattimestamp("X", "0")))
  }
}
