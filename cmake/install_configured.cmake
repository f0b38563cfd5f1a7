# pmemd_install_configured(<file.in> <directory> <name there>): installs the file with the @VARIABLES@
# in it replaced, when it is installed: only then the prefix is known. For the build tree the file is
# build/configured/<name>, with the prefix of the configuration.
function(pmemd_install_configured file dir name)
  configure_file(${file} ${PROJECT_BINARY_DIR}/configured/${name} @ONLY)
  set(variables "")
  foreach(variable
      CMAKE_INSTALL_BINDIR CMAKE_INSTALL_DOCDIR CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR
      PROJECT_DESCRIPTION PROJECT_VERSION)
    string(APPEND variables "set(${variable} [[${${variable}}]])\n")
  endforeach()
  set(made ${PROJECT_BINARY_DIR}/installed/${name})
  install(CODE "${variables}
    configure_file([[${file}]] [[${made}]] @ONLY)
    file(INSTALL DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${dir}\" TYPE FILE FILES [[${made}]])")
endfunction()
