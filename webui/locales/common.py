"""Strings that no single panel owns."""

from __future__ import annotations

from .words import Five, alert, element


LOCALES = {
    "dba_tab_anchor": element(label=Five("Anchor", "Якорь", "锚点", "앵커", "アンカー")),
    "dba_tab_train": element(label=Five("Train", "Обучение", "训练", "훈련", "学習")),
    "dba_tab_results": element(label=Five("Results", "Результаты", "结果", "결과", "結果")),
    "dba_tab_recipes": element(label=Five("Recipes", "Рецепты", "配方", "레시피", "レシピ")),
}

ALERTS = {
    "dba_panel_failed": alert(
        "This part of the DBA tab could not be built: {error}",
        "Не удалось построить эту часть вкладки DBA: {error}",
        "DBA 标签页的这一部分无法生成：{error}",
        "DBA 탭의 이 부분을 만들 수 없습니다: {error}",
        "DBA タブのこの部分を表示できません: {error}",
    ),
    "dba_demo": alert(
        "Nothing can be started on a demonstration board. Duplicate it for private use.",
        "На демонстрационной доске ничего нельзя запустить. Создайте собственную копию.",
        "演示面板不能启动任何任务，请复制到私有空间后使用。",
        "데모 보드에서는 아무것도 시작할 수 없습니다. 복제하여 개인용으로 사용하세요.",
        "デモボードでは何も開始できません。複製して個人用としてお使いください。",
    ),
}
