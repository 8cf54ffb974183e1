"""Strings of the Recipes panel."""

from __future__ import annotations

from .words import Five, alert, element


LOCALES = {
    "dba_recipe_intro": element(
        value=Five(
            "The recipe of what is on the screen, Train tab and DBA tab together. The file runs with "
            "`llamafactory-cli train recipe.yaml`.",
            "Рецепт того, что на экране: вкладки Train и DBA вместе. Файл запускается командой "
            "`llamafactory-cli train recipe.yaml`.",
            "屏幕上当前设置（Train 与 DBA 标签页）的配方。可用 `llamafactory-cli train recipe.yaml` 运行。",
            "화면의 설정(Train 탭과 DBA 탭)을 담은 레시피입니다. `llamafactory-cli train recipe.yaml`로 실행됩니다.",
            "画面の設定（Train タブと DBA タブ）のレシピです。`llamafactory-cli train recipe.yaml` で実行できます。",
        )
    ),
    "dba_recipe_yaml": element(
        label=Five("Recipe (YAML)", "Рецепт (YAML)", "配方（YAML）", "레시피(YAML)", "レシピ（YAML）")
    ),
    "dba_recipe_refresh": element(value=Five("Refresh", "Обновить", "刷新", "새로 고침", "更新")),
    "dba_recipe_copy": element(value=Five("Copy", "Копировать", "复制", "복사", "コピー")),
    "dba_recipe_download": element(label=Five("Download", "Скачать", "下载", "다운로드", "ダウンロード")),
    "dba_recipe_file": element(
        label=Five(
            "Drop a recipe here: it fills both tabs (.yaml, up to 1 MB)",
            "Перетащите рецепт сюда: он заполнит обе вкладки (.yaml, до 1 МБ)",
            "将配方拖到此处以填写两个标签页（.yaml，最大 1 MB）",
            "레시피를 여기에 놓으면 두 탭이 채워집니다(.yaml, 최대 1 MB)",
            "ここにレシピをドロップすると両方のタブに入ります（.yaml、1 MB まで）",
        )
    ),
}

ALERTS = {
    "dba_recipe_shown": alert(
        "This is what Start would run.",
        "Именно это запустит кнопка «Начать».",
        "“开始”按钮将运行此配方。",
        "시작을 누르면 이대로 실행됩니다.",
        "開始を押すとこのとおり実行されます。",
    ),
    "dba_recipe_bad": alert(
        "⚠️ The recipe cannot be loaded: {reason}",
        "⚠️ Рецепт не удалось загрузить: {reason}",
        "⚠️ 无法载入配方：{reason}",
        "⚠️ 레시피를 불러올 수 없습니다: {reason}",
        "⚠️ レシピを読み込めません：{reason}",
    ),
    "dba_recipe_loaded": alert(
        "The recipe has been loaded into the tabs Train and DBA.",
        "Рецепт загружен во вкладки Train и DBA.",
        "配方已载入 Train 和 DBA 标签页。",
        "레시피를 Train 탭과 DBA 탭에 불러왔습니다.",
        "レシピを Train タブと DBA タブに読み込みました。",
    ),
    "dba_recipe_anchor": alert(
        "It is the recipe of an anchor: Start makes the anchor in the output folder and trains nothing.",
        "Это рецепт якоря: запуск построит якорь в папке вывода и ничего не обучит.",
        "这是制作锚点的配方：开始后会在输出文件夹中制作锚点，不训练模型。",
        "앵커 레시피입니다: 시작하면 출력 폴더에 앵커를 만들고 훈련은 하지 않습니다.",
        "アンカーのレシピです。開始すると出力フォルダにアンカーを作り、学習はしません。",
    ),
    "dba_recipe_extra": alert(
        "No field on this board, kept among the extra arguments of the Train tab: {names}.",
        "Нет поля на этой доске, сохранено в дополнительных аргументах вкладки Train: {names}.",
        "面板上没有对应项，保留在 Train 标签页的额外参数中：{names}。",
        "보드에 항목이 없어 Train 탭의 추가 인수에 두었습니다: {names}.",
        "対応する項目がないため Train タブの追加引数に入れました：{names}。",
    ),
}
