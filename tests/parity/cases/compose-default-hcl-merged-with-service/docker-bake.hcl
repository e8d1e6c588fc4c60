target "a" {
  contexts = { p = "", r = "./r" }
  args = { A = null, B = "9", C = "3" }
  platforms = ["linux/arm64"]
  cache-from = ["g"]
  cache-to = ["type=inline"]
  extra-hosts = { h = "2.2.2.2", i = "3.3.3.3" }
  network = "none"
  ulimits = ["nproc=5"]
  pull = false
  attest = ["type=sbom,disabled=true"]
  output = ["type=docker"]
}
